package postgres_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// TestHeldStatementsAreLookedAtWithTheirParameters looks while the statement
// waits on the wire, in each of pgx's ways of sending one.
func TestHeldStatementsAreLookedAtWithTheirParameters(t *testing.T) {
	s := reachDatabase(t, "reach")
	plugin, err := plugin()
	if err != nil {
		t.Fatal(err)
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
	var mu sync.Mutex
	var looks []*operation.Reach
	var inside []bool
	p := startProxy(t, s, proxyOptions{sqlRules: true, decide: func(ctx context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.SQL != nil && op.SQL.Statements[0].Kind == "DELETE" {
			reach := plugin.(protocol.Reacher).Reach(ctx, conn, op)
			mu.Lock()
			defer mu.Unlock()
			looks, inside = append(looks, reach), append(inside, op.Context.InTransaction)
			return protocol.Decision{}, nil
		}
		return protocol.Decision{Effect: protocol.Allow}, nil
	}})
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://job@127.0.0.1:%d/reach?sslmode=disable", p.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		if _, err := c.Exec(t.Context(), "DELETE FROM orders WHERE id <= $1 AND state = $2", mode, 100, "open"); err == nil {
			t.Error("it was not refused")
		}
	}
	for i, reach := range looks {
		if len(reach.Statements) != 1 || reach.Statements[0].Counted == nil || *reach.Statements[0].Counted != 10 || inside[i] {
			t.Errorf("%v: %s", modes[i], told(reach))
		}
	}
	if len(looks) != len(modes) {
		t.Fatalf("%d were looked at", len(looks))
	}
	// What stands behind another one in a pipeline shares its transaction.
	batch := &pgx.Batch{}
	batch.Queue("UPDATE items SET id = 1")
	batch.Queue("DELETE FROM orders")
	if err := c.SendBatch(t.Context(), batch).Close(); err == nil {
		t.Error("it was not refused")
	}
	if last := looks[len(looks)-1]; len(looks) != len(modes)+1 || !inside[len(inside)-1] || last.Statements[0].Estimated != nil {
		t.Errorf("in a pipeline: %s", told(last))
	}
}

// TestLooksLogInAsSessionsDo covers each way of the agent's login.
func TestLooksLogInAsSessionsDo(t *testing.T) {
	s := reachDatabase(t, "reach")
	t.Cleanup(func() { s.authenticate(t, "scram-sha-256") })
	if err := s.sql("postgres", "DROP ROLE IF EXISTS oldlook"); err != nil {
		t.Fatal(err)
	}
	if err := s.sql("postgres", "SET password_encryption = 'md5'; CREATE ROLE oldlook LOGIN PASSWORD 'old-secret'"); err != nil {
		t.Fatal(err)
	}
	certificate, key := s.certify(t, "app")
	secured := protocol.ServerTLS{Config: &tls.Config{RootCAs: s.roots, ServerName: "pg.example"}}
	wrong := protocol.ServerTLS{Config: &tls.Config{RootCAs: s.roots, ServerName: "other.example"}}
	app := protocol.Credential{User: "app", Password: "app-secret"}
	for _, test := range []struct {
		name, method string
		credential   protocol.Credential
		tls          protocol.ServerTLS
		ok           bool
	}{
		{"scram over TLS", "scram-sha-256", app, secured, true},
		{"another server's certificate", "scram-sha-256", app, wrong, false},
		{"md5", "md5", protocol.Credential{User: "oldlook", Password: "old-secret"}, protocol.ServerTLS{Mode: protocol.TLSOff}, true},
		{"password over TLS", "password", app, secured, true},
		{"password in the clear", "password", app, protocol.ServerTLS{Mode: protocol.TLSOff}, false},
		{"certificate", "cert", protocol.Credential{User: "app", Certificate: certificate, Key: key}, secured, true},
	} {
		s.authenticate(t, test.method)
		reach := look(t, s, "reach", "DROP TABLE orders", func(c *protocol.Conn, op *operation.Operation) {
			c.Credential, c.TLS, op.Context.Role = test.credential, test.tls, test.credential.User
		})
		if (reach.Unknown == "") != test.ok || test.ok && len(reach.Statements[0].Relations) != 1 {
			t.Errorf("%s: %s", test.name, told(reach))
		}
	}
}
