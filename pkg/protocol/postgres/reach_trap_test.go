package postgres_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// sprung is where traps leave their rows. It must be there when they are made.
const sprung = "CREATE TABLE sprung (at timestamptz DEFAULT now())"

// trapFixture has functions that lie about being immutable. trap leaves a row
// through a connection of its own, which no read-only transaction undoes,
// writes to the server's log, and sleeps.
func trapFixture(s *server) string {
	own := "host=127.0.0.1 port=" + strconv.Itoa(s.port) + " dbname=traps user=postgres password=admin"
	return `
CREATE EXTENSION dblink;
CREATE SEQUENCE ticks;
CREATE FUNCTION trap(int) RETURNS int LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER AS $$ BEGIN
	PERFORM public.dblink_exec('` + own + `', 'INSERT INTO public.sprung DEFAULT VALUES');
	RAISE LOG 'the trap has sprung';
	PERFORM pg_sleep(0.01);
	RETURN $1; END $$;
CREATE FUNCTION trap_bool(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT trap($1) = $1';
CREATE FUNCTION trap_tick(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT nextval(''ticks'')::int + $1';
CREATE FUNCTION trap_equal(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT trap($1) = $2';
CREATE FUNCTION trap_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM trap(1); RETURN OLD; END';
CREATE FUNCTION trap_order(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN trap($1) - $2; END';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = trap_equal);
CREATE TYPE pair AS (a int);
CREATE FUNCTION trap_cast(int) RETURNS pair LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN ROW(trap($1)); END';
CREATE CAST (int AS pair) WITH FUNCTION trap_cast(int);
CREATE DOMAIN wary AS int CHECK (trap(VALUE) = VALUE);
CREATE TABLE viewed (id int); CREATE VIEW a_view AS SELECT id FROM viewed WHERE trap(1) = 1;
CREATE TABLE ruled (id int); CREATE RULE r AS ON DELETE TO ruled DO INSTEAD SELECT trap(1);
CREATE TABLE policed (id int); ALTER TABLE policed ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON policed USING (trap(1) = 1);
CREATE TABLE indexed (id int); CREATE INDEX ON indexed ((id + trap(1)));
CREATE TABLE partial (id int); CREATE INDEX ON partial (id) WHERE id > trap(2);
CREATE TABLE checked (id int, CHECK (id <> trap(-1)));
CREATE TABLE parent (id int); CREATE TABLE kid (CHECK (id <> trap(-1))) INHERITS (parent);
CREATE TABLE defaulted (id int DEFAULT trap(1));
CREATE TABLE computed (id int, twice int GENERATED ALWAYS AS (trap(id)) STORED);
CREATE TABLE weighed (id int, x int); CREATE STATISTICS weigh ON (trap(id)), x FROM weighed;
CREATE TABLE divided (id int) PARTITION BY RANGE (trap(id)); CREATE TABLE divided1 PARTITION OF divided FOR VALUES FROM (0) TO (9);
CREATE TABLE triggered (id int); CREATE TRIGGER t BEFORE DELETE ON triggered FOR EACH ROW EXECUTE FUNCTION trap_trigger();
CREATE TRIGGER s BEFORE DELETE ON triggered EXECUTE FUNCTION trap_trigger();
CREATE OPERATOR CLASS trapped FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 trap_order(int, int);
CREATE TABLE sorted (id int);
CREATE TABLE typed (id pair); CREATE TABLE domained (id wary);
DO $$ DECLARE r text; BEGIN FOR r IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND relname NOT IN ('sprung', 'policed')
	LOOP EXECUTE format('ALTER TABLE %I OWNER TO app', r); END LOOP; END $$;
GRANT ALL ON SEQUENCE ticks TO app; GRANT ALL ON policed TO app;
INSERT INTO viewed VALUES (1); INSERT INTO triggered VALUES (1); INSERT INTO sorted VALUES (1);
CREATE INDEX ON sorted (id trapped);
INSERT INTO sorted SELECT i FROM generate_series(1, 5) i;
ANALYZE sorted;
CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing; CREATE FOREIGN TABLE distant (id int) SERVER elsewhere; ALTER FOREIGN TABLE distant OWNER TO app;
`
}

// traps are statements; planning those of armed by itself springs the trap.
var traps = []struct {
	text  string
	armed bool
}{
	{"DELETE FROM orders WHERE id = trap(1)", true},
	{"DELETE FROM orders WHERE trap_bool(1)", true},
	{"DELETE FROM orders WHERE id = trap_tick(1)", false}, // nextval fails, it must not even be tried
	{"DELETE FROM orders WHERE 1 === 1", true},
	{"DELETE FROM orders WHERE 1 OPERATOR(public.===) id", false},
	{"DELETE FROM orders WHERE (1::pair).a = id", true},
	{"DELETE FROM orders WHERE id = 1::wary", false},
	{"DELETE FROM orders WHERE id = CAST('1' AS pair)::text::int", false},
	{"DELETE FROM a_view", true},
	{"UPDATE a_view SET id = 2 WHERE id = 1", true},
	{"DELETE FROM orders WHERE id IN (SELECT id FROM a_view)", true},
	{"DELETE FROM orders USING a_view v WHERE v.id = orders.id", true},
	{"WITH w AS (SELECT trap(1) AS id) DELETE FROM orders WHERE id IN (SELECT id FROM w)", true},
	{"DELETE FROM ruled", true},
	{"DELETE FROM policed", true},
	{"DELETE FROM indexed WHERE id = 1", true},
	{"DELETE FROM partial WHERE id > 5", true},
	{"DELETE FROM checked WHERE id = 1", false},
	{"DELETE FROM parent WHERE id = 1", true},
	{"UPDATE defaulted SET id = DEFAULT", true},
	{"DELETE FROM defaulted", false},
	{"UPDATE computed SET id = 1", false},
	{"DELETE FROM weighed WHERE id = 1", false},
	{"DELETE FROM divided WHERE id = 1", false},
	{"DELETE FROM sorted WHERE id < 3", false},
	{"DELETE FROM typed", false},
	{"DELETE FROM domained WHERE id = 1", false},
	{"DELETE FROM distant", false},
	{"DELETE FROM orders WHERE pg_sleep(30) IS NULL", false},
	{"DELETE FROM orders WHERE nextval('ticks') > 0", false},
	{"DELETE FROM orders WHERE query_to_xml('SELECT trap(1)', true, true, '') IS NULL", false},
	{"DELETE FROM orders WHERE table_to_xml('a_view', true, true, '') IS NULL", false},
	{"DELETE FROM orders WHERE id = $$1$$::trap.x", false},
	{"DELETE FROM orders; SELECT trap(1)", true},
	{"DO $$ BEGIN PERFORM trap(1); END $$", false},
	{"SELECT trap(1)", true},
	{"UPDATE orders SET id = trap(1) WHERE id = 1", true},       // only the condition is looked at
	{"DELETE FROM orders WHERE id = 1 RETURNING trap(1)", true}, // likewise
	{"DELETE FROM triggered", false},
	{"ALTER TABLE orders ADD x int DEFAULT trap(1)", false},
	{"CREATE INDEX ON orders ((trap(id)))", false},
	{"ALTER TABLE orders ADD CHECK (trap(1) = 1)", false},
	{"DROP TABLE triggered", false},
	{"TRUNCATE a_view, triggered", false},
	{"REFRESH MATERIALIZED VIEW a_view", false},
}

// harmless may be planned, which calls nothing, but not run to be counted.
const harmless = "DELETE FROM orders WHERE pg_sleep(30) IS NULL"

// countedTraps are those of traps whose conditions call nothing, and can be counted.
var countedTraps = map[string]bool{
	"UPDATE orders SET id = trap(1) WHERE id = 1": true, "DELETE FROM orders WHERE id = 1 RETURNING trap(1)": true, "DELETE FROM triggered": true,
}

// TestALookSpringsNoTrap looks at each, and then at what the server did.
func TestALookSpringsNoTrap(t *testing.T) {
	s := realServer(t)
	reachDatabase(t, "traps", sprung, trapFixture(s))
	if err := s.sql("postgres", "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.sql("postgres", "ALTER SYSTEM RESET autovacuum", "SELECT pg_reload_conf()") })
	if err := s.sql("traps", "TRUNCATE sprung"); err != nil {
		t.Fatal(err)
	}
	logged := len(s.serverLog(t))
	before := state(t, s)
	for _, trap := range traps {
		reach := look(t, s, "traps", trap.text, nil)
		if reach.Unknown == "the server could not be asked" {
			t.Fatalf("%s: %s", trap.text, told(reach))
		}
		for _, statement := range reach.Statements {
			if countedTraps[trap.text] != (statement.Counted != nil) || !countedTraps[trap.text] && trap.text != harmless && statement.Estimated != nil {
				t.Errorf("%s: %s", trap.text, told(reach))
			}
		}
		if after := state(t, s); after != before {
			t.Fatalf("%s: the server was %s and is %s", trap.text, before, after)
		}
	}
	if log := s.serverLog(t)[logged:]; strings.Contains(log, "sprung") {
		t.Error("a function wrote to the log")
	}
}

// state is what a look must not change: the traps that have sprung, the
// sequence, and the next transaction id, which no reading takes.
func state(t *testing.T, s *server) string {
	t.Helper()
	state, err := s.queryIn("traps", "SELECT (SELECT count(*) FROM sprung), last_value, is_called, pg_snapshot_xmax(pg_current_snapshot()) FROM ticks")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(state)
}

// TestTheTrapsAreArmed shows that to plan these statements is enough: without
// what refuses to plan them the test above would fail.
func TestTheTrapsAreArmed(t *testing.T) {
	s := realServer(t)
	reachDatabase(t, "traps", sprung, trapFixture(s))
	for _, trap := range traps {
		if !trap.armed {
			continue
		}
		if err := s.sql("traps", "TRUNCATE sprung"); err != nil {
			t.Fatal(err)
		}
		_, _ = s.queryAs("app", "app-secret", "traps", "BEGIN READ ONLY; EXPLAIN "+strings.ReplaceAll(trap.text, "; ", "; EXPLAIN "))
		if n, err := s.queryIn("traps", "SELECT count(*) FROM sprung"); err != nil || strings.TrimSpace(n) == "0" {
			t.Errorf("%s: planning it springs nothing: %v", trap.text, err)
		}
	}
}

// TestBuiltinNamesThatUsersTookAreNotBelieved covers names of the server's that
// mean something else in this database.
func TestBuiltinNamesThatUsersTookAreNotBelieved(t *testing.T) {
	for name, fixture := range map[string]string{
		"a function":             "CREATE FUNCTION lower(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END'",
		"an operator":            "CREATE FUNCTION eq(text, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; CREATE OPERATOR = (LEFTARG = text, RIGHTARG = int, FUNCTION = eq)",
		"a function as a column": "CREATE FUNCTION doubled(orders) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'",
		"a cast":                 "CREATE FUNCTION tobool(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; CREATE CAST (text AS bool) WITH FUNCTION tobool(text) AS IMPLICIT",
		"a type":                 "CREATE SCHEMA other; CREATE TYPE other.int4 AS ENUM ('x')",
	} {
		s := reachDatabase(t, "shadows", fixture)
		text := "DELETE FROM orders WHERE id = '1'::int4"
		reach := look(t, s, "shadows", text, func(_ *protocol.Conn, op *operation.Operation) { op.Context.SearchPath = "public, pg_catalog" })
		if got := reach.Statements[0]; got.Estimated != nil || got.Counted != nil || got.Unknown == "" {
			t.Errorf("%s: %s", name, told(reach))
		}
	}
}
