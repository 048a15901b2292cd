package postgres_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// refuseUnseen denies what is not proven to show all that it does.
func refuseUnseen(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
	if op.SQL != nil && slices.ContainsFunc(op.SQL.Statements, func(s operation.SQLStatement) bool { return s.Opaque }) {
		if op.ReadOnly {
			return protocol.Decision{Rule: "opaque and read-only"}, nil
		}
		return protocol.Decision{Rule: "opaque"}, nil
	}
	return protocol.Decision{Effect: protocol.Allow}, nil
}

// unseen are definitions by which statements run code that their text does not
// name, and such statements.
var unseen = []struct {
	define     []string
	undo       string
	statements []string
}{
	{
		[]string{"CREATE VIEW busy AS SELECT work() AS w", "CREATE VIEW outer_busy AS SELECT 1 AS w FROM busy"},
		"DROP VIEW busy CASCADE",
		[]string{"SELECT * FROM busy", "SELECT count(*) FROM outer_busy", "WITH b AS (SELECT * FROM public.busy) SELECT 1 FROM b"},
	},
	{
		[]string{"ALTER TABLE orders ENABLE ROW LEVEL SECURITY", "ALTER TABLE orders FORCE ROW LEVEL SECURITY", "CREATE POLICY busy ON orders USING (work() IS NOT NULL)"},
		"DROP POLICY busy ON orders; ALTER TABLE orders DISABLE ROW LEVEL SECURITY; ALTER TABLE orders NO FORCE ROW LEVEL SECURITY",
		[]string{"SELECT total FROM orders LIMIT 1", "UPDATE orders SET total = total WHERE id = 1"},
	},
	{
		[]string{"CREATE FUNCTION works(int) RETURNS bool LANGUAGE sql AS 'SELECT work() IS NOT NULL'", "CREATE DOMAIN busy AS int CHECK (works(VALUE))"},
		"DROP DOMAIN busy; DROP FUNCTION works(int)",
		[]string{"SELECT 1::busy", "SELECT CAST('1' AS public.busy)"},
	},
	{
		[]string{"CREATE TYPE pair AS (a int, b int)", "CREATE FUNCTION works(pair) RETURNS text LANGUAGE sql AS 'SELECT work()'", "CREATE CAST (pair AS text) WITH FUNCTION works(pair)"},
		"DROP TYPE pair CASCADE",
		[]string{"SELECT ROW(1, 2)::pair::text"},
	},
	{
		[]string{
			"CREATE SCHEMA ahead", "CREATE FUNCTION ahead.same(int, int) RETURNS bool LANGUAGE sql AS 'SELECT public.work() IS NOT NULL'",
			"CREATE OPERATOR ahead.= (leftarg = int, rightarg = int, function = ahead.same)", "GRANT USAGE ON SCHEMA ahead TO app",
			"ALTER DATABASE shop SET search_path = ahead, pg_catalog, public",
		},
		"DROP SCHEMA ahead CASCADE; ALTER DATABASE shop RESET search_path",
		[]string{
			"SELECT 1 FROM orders WHERE id = 3", "SELECT CASE id WHEN 3 THEN 4 END FROM orders", "SELECT 1 FROM orders WHERE id IN (SELECT 3)",
			"SELECT 1 FROM orders JOIN orders o USING (id)", "SELECT 1 FROM orders NATURAL JOIN orders o",
		},
	},
}

// TestWhatRunsUnseenIsOpaque: code behind a view, a policy, a type, a cast and
// an operator, each of which is seen to run first.
func TestWhatRunsUnseenIsOpaque(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	setUp(t, s, "CREATE TABLE worked (a int)", "CREATE FUNCTION work() RETURNS text LANGUAGE sql AS 'INSERT INTO public.worked VALUES (1); SELECT email FROM public.customers LIMIT 1'",
		"GRANT ALL ON worked TO app")
	for _, test := range unseen {
		t.Run(test.statements[0], func(t *testing.T) {
			setUp(t, s, test.define...)
			t.Cleanup(func() { setUp(t, s, test.undo) })
			setUp(t, s, "GRANT ALL ON ALL TABLES IN SCHEMA public TO app")
			direct := startProxy(t, s, proxyOptions{}).connect(t, pgx.QueryExecModeSimpleProtocol)
			for _, statement := range test.statements {
				setUp(t, s, "TRUNCATE worked")
				if _, err := direct.Exec(context.Background(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
				if rows, err := s.queryIn("shop", "SELECT count(*) > 0 FROM worked"); err != nil || rows != "t\n" {
					t.Errorf("%s runs nothing unseen: %q, %v", statement, rows, err)
				}
			}
			for _, mode := range execModes {
				refusedUnseen(t, s, mode, test.statements)
			}
		})
	}
}

// refusedUnseen runs statements under rules and, each, under masks.
func refusedUnseen(t *testing.T, s *server, mode pgx.QueryExecMode, statements []string) {
	t.Helper()
	ruled := startProxy(t, s, proxyOptions{decide: refuseUnseen, sqlRules: true}).connect(t, mode)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
	masked := p.connect(t, mode)
	for _, statement := range statements {
		_, err := ruled.Exec(context.Background(), statement)
		if err == nil || err.Error() != `ERROR: sluice: refused by rule "opaque" (SQLSTATE 42501)` {
			t.Errorf("%s: %v", statement, err)
		}
		runAll(masked, statement)
		if found := leaked(p.received(), statement); found != "" {
			t.Errorf("%s: the client received %s", statement, found)
		}
	}
}

// TestExtensionsHideNothing: what an extension adds under names of the server's
// makes no ordinary statement one that may run anything.
func TestExtensionsHideNothing(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	extensions := []string{"citext", "pg_trgm", "pgcrypto", "intarray", "ltree", "btree_gist", "cube", "isn"}
	for _, name := range extensions {
		setUp(t, s, "CREATE EXTENSION "+name)
	}
	setUp(t, s, "CREATE FUNCTION length(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
	t.Cleanup(func() {
		setUp(t, s, "DROP FUNCTION length(int, int)")
		for _, name := range extensions {
			setUp(t, s, "DROP EXTENSION "+name+" CASCADE")
		}
	})
	p := startProxy(t, s, proxyOptions{masks: customerMasks, sqlRules: true, decide: refuseUnseen})
	for _, mode := range execModes {
		conn := p.connect(t, mode)
		for statement, want := range map[string]string{
			"SELECT name FROM customers WHERE id = 7 AND id % 2 = 1":                                                                 "name7",
			"SELECT upper(replace(name, 'name', 'n')) FROM customers WHERE lower(name) = 'name7'":                                    "N7",
			"SELECT c.name || o.item FROM orders o JOIN customers c ON c.id = o.customer WHERE o.total BETWEEN 70 AND 70 ORDER BY 1": "name7item7",
			"SELECT (count(*) + coalesce(min(length(email)), 0) * 0)::text FROM customers WHERE name LIKE 'name1%' AND id IN (1, 2)": "",
			"UPDATE orders SET item = 'changed' WHERE id = 9 AND item <> gen_random_uuid()::text RETURNING item":                     "changed",
			"SELECT max(email) FROM customers": "[redacted]",
		} {
			var got *string
			err := conn.QueryRow(context.Background(), statement).Scan(&got)
			switch {
			case want == "": // length is taken
				wantState(t, err, "42501")
			case err != nil || got == nil || *got != want:
				t.Errorf("%s: got %v, %v", statement, got, err)
			}
		}
	}
}
