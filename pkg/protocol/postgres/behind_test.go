package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// denyWages denies what reaches a table, and what nobody understood, as policy
// does.
func denyWages(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
	if op.Kind != operation.Statement {
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
	if !op.Parsed {
		return protocol.Decision{Rule: "unparsed"}, nil
	}
	for _, s := range op.SQL.Statements {
		reads := s.Class == operation.Read || s.Class == operation.Write
		if reads && (slices.Contains(s.Relations, "private.wages") || slices.Contains(s.Relations, "wages")) {
			return protocol.Decision{Rule: "no-wages"}, nil
		}
	}
	return protocol.Decision{Effect: protocol.Allow}, nil
}

func TestRulesSeeTheRelationsBehindAName(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP SCHEMA IF EXISTS private CASCADE", "CREATE SCHEMA private", "CREATE TABLE private.wages (name text, cents int)",
		"INSERT INTO private.wages VALUES ('ada', 1)", "DROP TABLE IF EXISTS plain CASCADE", "CREATE TABLE plain (name text, cents int)",
		"CREATE VIEW pay AS SELECT * FROM private.wages", "CREATE VIEW payday AS SELECT name FROM pay",
		"CREATE MATERIALIZED VIEW totals AS SELECT sum(cents) FROM payday CROSS JOIN plain",
		"CREATE TABLE everything (name text, cents int)", "ALTER TABLE private.wages INHERIT everything",
		"CREATE RULE copies AS ON INSERT TO plain DO ALSO INSERT INTO private.wages VALUES (NEW.*)",
		"GRANT ALL ON SCHEMA private TO app", "GRANT ALL ON ALL TABLES IN SCHEMA private, public TO app", "GRANT CREATE ON SCHEMA public TO app")
	t.Cleanup(func() {
		setUp(t, s, "DROP SCHEMA private CASCADE", "DROP TABLE plain, everything CASCADE", "DROP VIEW IF EXISTS fresh")
	})
	p := startProxy(t, s, proxyOptions{decide: denyWages, sqlRules: true})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			conn := p.connect(t, mode)
			ctx := context.Background()
			for _, statement := range []string{
				"SELECT * FROM private.wages", "SELECT name FROM pay", "SELECT 1 FROM payday", "SELECT * FROM totals", "SELECT count(*) FROM everything",
				"DELETE FROM pay", "UPDATE everything SET cents = 0", "INSERT INTO plain VALUES ('eve', 1)",
				`SELECT * FROM public . "pay"`, "SELECT (SELECT max(name) FROM payday)", "WITH x AS (SELECT * FROM pay) SELECT 1",
			} {
				_, err := conn.Exec(ctx, statement)
				wantState(t, err, "42501")
				if !strings.Contains(err.Error(), "no-wages") {
					t.Errorf("%s: %v", statement, err)
				}
			}
			for _, statement := range []string{"SELECT * FROM plain", "SELECT * FROM information_schema.tables LIMIT 1", "SELECT 1 FROM pg_class LIMIT 1"} {
				if _, err := conn.Exec(ctx, statement); err != nil {
					t.Errorf("%s: %v", statement, err)
				}
			}
		})
	}
	t.Run("made meanwhile", func(t *testing.T) { reachThroughNewNames(t, s, p) })
}

// reachThroughNewNames makes names for the table by other sessions, around the
// agent, in one transaction, in one text and in one pipeline.
func reachThroughNewNames(t *testing.T, s *server, p *proxy) {
	ctx := context.Background()
	deny := func(conn *pgx.Conn, statement string) {
		t.Helper()
		if _, err := conn.Exec(ctx, statement); err == nil || !strings.Contains(err.Error(), "no-wages") {
			t.Errorf("%s: got %v", statement, err)
		}
	}
	allow := func(conn *pgx.Conn, statement string) {
		t.Helper()
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	for _, mode := range execModes[2:] {
		conn, other := p.connect(t, mode), p.connect(t, mode)
		setUp(t, s, "CREATE VIEW fresh AS SELECT * FROM private.wages")
		deny(conn, "SELECT * FROM fresh")
		setUp(t, s, "DROP VIEW fresh")
		allow(other, "CREATE VIEW fresh AS SELECT * FROM plain")
		allow(conn, "SELECT * FROM fresh")
		allow(conn, "BEGIN")
		allow(conn, "SELECT 1 FROM plain")
		allow(other, "CREATE OR REPLACE VIEW fresh AS SELECT * FROM private.wages")
		deny(conn, "DELETE FROM fresh")
		allow(conn, "ROLLBACK")
		allow(conn, "DROP VIEW fresh")
		allow(conn, "BEGIN")
		allow(conn, "CREATE TEMP VIEW plain AS SELECT * FROM private.wages")
		deny(conn, "SELECT * FROM plain")
		allow(conn, "ROLLBACK")
		allow(conn, "SELECT * FROM plain")
		allow(conn, "CREATE VIEW fresh AS SELECT * FROM plain") // a batch is prepared before it runs
		batch := &pgx.Batch{}
		batch.Queue("CREATE OR REPLACE VIEW fresh AS SELECT * FROM private.wages")
		batch.Queue("DELETE FROM fresh")
		if err := conn.SendBatch(ctx, batch).Close(); err == nil || !strings.Contains(err.Error(), "no-wages") {
			t.Errorf("a pipeline in mode %s: %v", mode, err)
		}
		allow(conn, "DROP VIEW fresh")
	}
	deny(p.connect(t, pgx.QueryExecModeSimpleProtocol), "CREATE VIEW fresh AS SELECT * FROM private.wages; DELETE FROM fresh")
	deny(p.connect(t, pgx.QueryExecModeSimpleProtocol), "ALTER TABLE private.wages RENAME TO harmless; SELECT * FROM private.harmless")
}

// Two views of one name, each of nearly as many relations as a statement may
// reach: what the second has more must not be lost behind what both have.
func TestCrowdHidesNoRelation(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP SCHEMA IF EXISTS private, crowd CASCADE", "CREATE SCHEMA private", "CREATE SCHEMA crowd",
		"CREATE TABLE private.wages (a int)", `DO $$
		DECLARE texts text := 'SELECT 1 AS a FROM crowd.t0'; BEGIN
		FOR i IN 0..999 LOOP EXECUTE 'CREATE TABLE crowd.t' || i || ' (a int)'; END LOOP;
		FOR i IN 1..999 LOOP texts := texts || ' UNION ALL SELECT 1 FROM crowd.t' || i; END LOOP;
		EXECUTE 'CREATE VIEW crowd.wide AS ' || texts;
		EXECUTE 'CREATE VIEW private.wide AS ' || texts || ' UNION ALL SELECT a FROM private.wages'; END $$`,
		"GRANT ALL ON SCHEMA private, crowd TO app", "GRANT ALL ON ALL TABLES IN SCHEMA private, crowd TO app")
	t.Cleanup(func() { setUp(t, s, "DROP SCHEMA private, crowd CASCADE") })
	for range 3 { // the order of relations differs
		p := startProxy(t, s, proxyOptions{decide: denyWages, sqlRules: true})
		_, err := p.connect(t, pgx.QueryExecModeSimpleProtocol).Exec(context.Background(), "SELECT count(*) FROM private.wide")
		if err == nil || !strings.Contains(err.Error(), "no-wages") {
			t.Errorf("got %v", err)
		}
	}
}

// TestAFunctionWrittenAsAColumnIsACall: o.wipe is wipe(o), which may do
// anything.
func TestAFunctionWrittenAsAColumnIsACall(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	setUp(t, s, "SET ROLE app", "CREATE FUNCTION wipe(orders) RETURNS int LANGUAGE sql AS 'DELETE FROM orders; SELECT 1'",
		"CREATE FUNCTION told(orders) RETURNS text STABLE LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1'")
	t.Cleanup(func() { setUp(t, s, "DROP FUNCTION wipe(orders), told(orders)") })
	decide := func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.SQL != nil && !op.ReadOnly && slices.ContainsFunc(op.SQL.Statements, func(s operation.SQLStatement) bool { return s.Opaque }) {
			return protocol.Decision{Rule: "opaque"}, nil
		}
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
	for name, p := range map[string]*proxy{
		"rules": startProxy(t, s, proxyOptions{decide: decide, sqlRules: true, tapped: true}),
		"masks": startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true}),
	} {
		for _, mode := range execModes {
			conn := p.connect(t, mode)
			for _, statement := range []string{
				"SELECT o.wipe FROM orders o", "SELECT id FROM orders WHERE orders.wipe = 1", `SELECT o."wipe" FROM (SELECT * FROM orders) o`,
				"SELECT o.told FROM orders o", "SELECT o.told || '' FROM orders o ORDER BY o.wipe", "INSERT INTO orders SELECT 5000, 1, 1, o.told FROM orders o",
			} {
				_, err := conn.Exec(context.Background(), statement)
				if name == "rules" || statement != "SELECT o.told FROM orders o" { // which changes nothing: it is hidden
					wantState(t, err, "42501")
				}
				if found := leaked(p.received(), statement); found != "" {
					t.Errorf("%s, %s: the client received %s", name, statement, found)
				}
			}
			if _, err := conn.Exec(context.Background(), "SELECT o.id, p.total FROM orders o JOIN orders p USING (id)"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
