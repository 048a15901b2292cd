package postgres_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// reachFixture has tables to look at, and an extension by which a function can
// have an effect even in a transaction that only reads.
const reachFixture = `
CREATE TABLE orders (id int PRIMARY KEY, state text, at timestamptz, paid numeric);
INSERT INTO orders SELECT i, CASE WHEN i % 10 = 0 THEN 'open' ELSE 'done' END, '2024-01-01'::timestamptz + i * interval '1 hour', i FROM generate_series(1, 1000) i;
CREATE TABLE items (id int, of_order int REFERENCES orders ON DELETE CASCADE, CHECK (id > 0));
CREATE VIEW open_orders AS SELECT * FROM orders WHERE state = 'open';
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE moods (id int, m mood);
INSERT INTO moods VALUES (1, 'good'), (2, 'bad'), (3, 'bad');
CREATE TABLE parts (id int) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts SELECT i FROM generate_series(0, 19) i;
CREATE SCHEMA hr;
CREATE TABLE hr.orders (id int, state text);
ALTER TABLE orders OWNER TO app; ALTER TABLE items OWNER TO app; ALTER TABLE moods OWNER TO app;
ALTER TABLE parts OWNER TO app; ALTER TABLE parts1 OWNER TO app; ALTER TABLE parts2 OWNER TO app; ALTER TABLE open_orders OWNER TO app;
GRANT ALL ON SCHEMA public, hr TO app; GRANT ALL ON hr.orders TO app;
ANALYZE;
`

// reachDatabase makes a database of its own: in another one a function could
// have the name of one of the server's.
func reachDatabase(t *testing.T, name string, fixtures ...string) *server {
	t.Helper()
	s := realServer(t)
	if err := s.sql("postgres", "DROP DATABASE IF EXISTS "+name, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	if err := s.sql(name, append([]string{reachFixture}, fixtures...)...); err != nil {
		t.Fatal(err)
	}
	return s
}

// look asks what a simple query would touch.
func look(t *testing.T, s *server, database, text string, change func(*protocol.Conn, *operation.Operation)) *operation.Reach {
	t.Helper()
	p, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	frame := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(text)+5))
	op := &operation.Operation{
		Kind: operation.Statement, Parsed: true, Bytes: append(append(frame, text...), 0),
		Context: operation.Context{Database: database, Role: "app", SearchPath: usualPath},
	}
	conn := &protocol.Conn{
		Session: &session.Session{ID: "look", Resource: "shop-db", Protocol: "postgres"},
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(s.port))
		},
		TLS:        protocol.ServerTLS{Mode: protocol.TLSOff},
		Credential: protocol.Credential{User: "app", Password: "app-secret"},
		Log:        zap.NewNop(),
	}
	if change != nil {
		change(conn, op)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return p.(protocol.Reacher).Reach(ctx, conn, op)
}

func TestRowsAreEstimatedAndCounted(t *testing.T) {
	s := reachDatabase(t, "reach")
	for _, test := range []struct {
		text    string
		counted int64 // -1: only estimated
	}{
		{"DELETE FROM orders", 1000},
		{"DELETE FROM orders WHERE state = 'open'", 100},
		{"UPDATE public.orders o SET state = 'x' WHERE o.state <> 'open' AND paid BETWEEN 1 AND 11", 10},
		{"DELETE FROM orders WHERE id IN (1, 2, 3) OR id + 0 = 4", 4},
		{"DELETE FROM orders WHERE at < '2024-01-02 00:00+00'", -2}, // depends on nothing but the server's clock zone
		{"UPDATE orders SET state = 'x' WHERE at < now()", -1},
		{"UPDATE orders SET state = 'x' WHERE at::date = '2024-01-02'", -1},
		{"DELETE FROM orders o USING items i WHERE i.of_order = o.id", 0},
		{"DELETE FROM orders WHERE EXISTS (SELECT FROM moods m WHERE m.id = orders.id)", 3},
		{"DELETE FROM moods WHERE m = 'bad'", 2},
		{"DELETE FROM parts WHERE id >= 5", 15},
		{"DELETE FROM ONLY parts WHERE id >= 5", 0},
		{"DELETE FROM hr.orders", 0},
		{"DELETE FROM orders WHERE orders IS NOT NULL", -1}, // whole rows
		{"WITH x AS (SELECT 1 AS n) DELETE FROM orders WHERE id IN (SELECT n FROM x)", -1},
	} {
		reach := look(t, s, "reach", test.text, nil)
		if len(reach.Statements) != 1 || reach.Unknown != "" || reach.Statements[0].Estimated == nil {
			t.Errorf("%s: %s", test.text, told(reach))
			continue
		}
		got := reach.Statements[0]
		switch {
		case test.counted == -1 && (got.Counted != nil || got.Unknown == ""):
			t.Errorf("%s: counted: %s", test.text, told(reach))
		case test.counted >= 0 && (got.Counted == nil || *got.Counted != test.counted):
			t.Errorf("%s: %s, want %d", test.text, told(reach), test.counted)
		case test.counted == -2 && (got.Counted == nil || *got.Counted < 1 || *got.Counted > 48):
			t.Errorf("%s: %s", test.text, told(reach))
		}
	}
}

func told(r *operation.Reach) string {
	var b strings.Builder
	fmt.Fprintf(&b, "unknown %q", r.Unknown)
	for _, s := range r.Statements {
		fmt.Fprintf(&b, "; %s unknown %q relations %+v", s.Kind, s.Unknown, s.Relations)
		if s.Estimated != nil {
			fmt.Fprintf(&b, " estimated %d", *s.Estimated)
		}
		if s.Counted != nil {
			fmt.Fprintf(&b, " counted %d", *s.Counted)
		}
	}
	return b.String()
}

func TestRelationsAreToldWithTheirLocksSizesAndDependants(t *testing.T) {
	s := reachDatabase(t, "reach")
	reach := look(t, s, "reach", "DROP TABLE orders; ALTER TABLE items ADD x int; CREATE INDEX ON parts (id); CREATE TABLE fresh (id int REFERENCES orders); DROP INDEX orders_pkey; DROP VIEW open_orders", nil)
	if len(reach.Statements) != 6 || reach.Unknown != "" {
		t.Fatal(told(reach))
	}
	at := func(i int) operation.RelationReach {
		if len(reach.Statements[i].Relations) != 1 {
			t.Fatalf("statement %d: %s", i, told(reach))
		}
		return reach.Statements[i].Relations[0]
	}
	orders := at(0)
	if orders.Name != "public.orders" || orders.Kind != "table" || orders.Lock != "ACCESS EXCLUSIVE" || orders.Rows != 1000 || orders.Bytes < 64<<10 ||
		!slices.Equal(orders.Dependants, []string{"foreign key of public.items, deletes cascade", "view public.open_orders"}) {
		t.Errorf("orders: %+v", orders)
	}
	if parts := at(2); parts.Kind != "partitioned table" || parts.Lock != "SHARE" || parts.Rows != 20 || parts.Bytes < 16<<10 || len(parts.Dependants) != 2 {
		t.Errorf("parts: %+v", parts)
	}
	if referred := at(3); referred.Name != "public.orders" || referred.Lock != "SHARE ROW EXCLUSIVE" {
		t.Errorf("referred: %+v", referred)
	}
	if index := at(4); index.Kind != "index" || !slices.Equal(index.Dependants, []string{"it belongs to public.orders, which is locked too"}) {
		t.Errorf("index: %+v", index)
	}
	if view := at(5); view.Kind != "view" || view.Rows != -1 {
		t.Errorf("view: %+v", view)
	}
}

func TestNamesMeanWhatTheyMeanInTheSession(t *testing.T) {
	s := reachDatabase(t, "reach")
	reach := look(t, s, "reach", "DELETE FROM orders", func(_ *protocol.Conn, op *operation.Operation) { op.Context.SearchPath = "hr, public" })
	if got := reach.Statements[0]; len(got.Relations) != 1 || got.Relations[0].Name != "hr.orders" || got.Counted == nil || *got.Counted != 0 {
		t.Error(told(reach))
	}
	reach = look(t, s, "reach", "DELETE FROM orders", func(_ *protocol.Conn, op *operation.Operation) { op.Context.Role = "postgres" })
	if got := reach.Statements[0]; got.Estimated != nil || got.Counted != nil || got.Unknown == "" || len(got.Relations) != 0 {
		t.Errorf("as a role that the agent may not take: %s", told(reach))
	}
}

func TestWhatOnlyTheSessionSeesIsNotEstimated(t *testing.T) {
	s := reachDatabase(t, "reach")
	reach := look(t, s, "reach", "DELETE FROM orders", func(_ *protocol.Conn, op *operation.Operation) { op.Context.InTransaction = true })
	if got := reach.Statements[0]; got.Estimated != nil || got.Unknown == "" || len(got.Relations) != 1 {
		t.Error(told(reach))
	}
	p := startProxy(t, s, proxyOptions{})
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://job@127.0.0.1:%d/shop?sslmode=disable", p.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	for _, statement := range []string{"CREATE TEMP VIEW small AS SELECT * FROM pg_class", "CREATE TEMP TABLE orders (id int)"} {
		if _, err := c.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if reach := look(t, s, "shop", "DELETE FROM orders", nil); reach.Statements[0].Estimated != nil || reach.Statements[0].Unknown == "" {
		t.Errorf("a temporary table takes the name: %s", told(reach))
	}
}

// TestAServerThatCannotAnswerDelaysNobody covers what keeps a look from ending
// well; each must end in time and say so.
func TestAServerThatCannotAnswerDelaysNobody(t *testing.T) {
	s := reachDatabase(t, "reach")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, change := range map[string]func(*protocol.Conn, *operation.Operation){
		"silent": func(c *protocol.Conn, _ *operation.Operation) {
			c.Dial = func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", silent.Addr().String())
			}
		},
		"wrong password":   func(c *protocol.Conn, _ *operation.Operation) { c.Credential.Password = "x" },
		"no such database": func(_ *protocol.Conn, op *operation.Operation) { op.Context.Database = "nowhere" },
		"nobody listens": func(c *protocol.Conn, _ *operation.Operation) {
			c.Dial = func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
		},
		"not understood": func(_ *protocol.Conn, op *operation.Operation) { op.Parsed = false },
	} {
		began := time.Now()
		reach := look(t, s, "reach", "DELETE FROM orders", change)
		if reach == nil || reach.Unknown == "" || time.Since(began) > 2500*time.Millisecond {
			t.Errorf("%s: %v after %v", name, reach, time.Since(began))
		}
	}
	reach := look(t, s, "reach", "DELETE FROM orders a USING orders b, orders c, orders d WHERE a.id + b.id + c.id + d.id < 0", nil)
	if got := reach.Statements[0]; got.Estimated == nil || got.Counted != nil || got.Unknown != "it would take too long" {
		t.Errorf("a count without end: %s", told(reach))
	}
}

func TestALockedTableIsNotWaitedFor(t *testing.T) {
	s := reachDatabase(t, "reach")
	var holder sync.WaitGroup
	holder.Go(func() { _ = s.sql("reach", "BEGIN; LOCK TABLE orders; SELECT pg_sleep(4); COMMIT") }) // it is only there to hold
	t.Cleanup(holder.Wait)
	for deadline := time.Now().Add(5 * time.Second); ; {
		held, err := s.query("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation IS NOT NULL")
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("nothing is locked: %v", err)
		}
		if strings.TrimSpace(held) != "0" {
			break
		}
	}
	reach := look(t, s, "reach", "DELETE FROM orders", nil)
	if got := reach.Statements[0]; got.Estimated != nil || got.Unknown != "a table is locked" || len(got.Relations) != 1 || got.Relations[0].Bytes != -1 || got.Relations[0].Rows != 1000 {
		t.Error(told(reach))
	}
}

// serverLog is what the server has logged so far.
func (s *server) serverLog(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}
