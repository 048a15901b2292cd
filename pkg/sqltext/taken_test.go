package sqltext_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// takenSeen makes what takes names, and what only seems to.
func takenSeen(t *testing.T, conn *pgx.Conn) {
	taken := func() []string {
		t.Helper()
		rows, err := conn.Query(t.Context(), "SELECT kind || ' ' || name FROM ("+sqltext.TakenQuery+") q")
		if err != nil {
			t.Fatal(err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return names
	}
	if found := taken(); len(found) > 0 {
		t.Fatalf("a fresh database has %q", found)
	}
	mustExec(t, conn, `CREATE ROLE owner; CREATE FUNCTION same(varchar, int) RETURNS bool LANGUAGE sql AS 'SELECT true';
		CREATE TYPE couple AS (a int, b int); CREATE FUNCTION sum_of(couple) RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	row := []string{"C sum_of"} // which any that takes a row is
	for _, test := range []struct {
		create, drop string
		want         []string
	}{
		{"CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1'", "DROP FUNCTION lower(varchar)", []string{"F lower"}},
		{"CREATE FUNCTION json_value(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1'", "DROP FUNCTION json_value(text, text)", []string{"F json_value"}},
		{"CREATE OPERATOR = (leftarg = varchar, rightarg = int, function = same)", "DROP OPERATOR = (varchar, int)", []string{"O ="}},
		{"CREATE OPERATOR || (leftarg = text, rightarg = int, function = pg_catalog.repeat)", "DROP OPERATOR || (text, int)", []string{"O ||"}},
		{"CREATE CAST (couple AS int) WITH FUNCTION sum_of(couple)", "DROP CAST (couple AS int)", []string{"T couple", "T int4"}},
		{"CREATE DOMAIN checked AS varchar CHECK (same(VALUE, 1))", "DROP DOMAIN checked", []string{"T checked"}},
		{"CREATE DOMAIN plain AS int CHECK (VALUE > 0)", "DROP DOMAIN plain", nil},
		{"CREATE FUNCTION my_very_own(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION my_very_own(int)", nil},
		{"CREATE EXTENSION citext", "DROP EXTENSION citext", nil},
		{"CREATE EXTENSION pgcrypto", "DROP EXTENSION pgcrypto", nil},
		{"CREATE EXTENSION adminpack", "DROP EXTENSION adminpack", []string{"F pg_file_rename", "F pg_file_sync", "F pg_file_unlink", "F pg_file_write"}},
		{ // as the owner of an extension can
			`CREATE EXTENSION citext; CREATE FUNCTION upper(citext) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT 1::text';
			ALTER FUNCTION upper(citext) OWNER TO owner; ALTER EXTENSION citext ADD FUNCTION upper(citext)`, "DROP EXTENSION citext", []string{"F upper"},
		},
	} {
		mustExec(t, conn, test.create)
		found := slices.DeleteFunc(taken(), func(name string) bool { return strings.HasPrefix(name, "C ") || name == "F pg_logdir_ls" })
		if !slices.Equal(found, test.want) {
			t.Errorf("%s: got %q, want %q", test.create, found, test.want)
		}
		mustExec(t, conn, test.drop)
	}
	if found := taken(); !slices.Equal(found, row) {
		t.Errorf("after all is dropped: %q", found)
	}
}

// TestTakenNamesAreNotTheServers: a text that uses a taken name may run what it
// does not show, and one that uses others does not.
func TestTakenNamesAreNotTheServers(t *testing.T) {
	set := func(name string) map[string]bool { return map[string]bool{name: true} }
	for _, test := range []struct {
		taken  sqltext.Taken
		using  []string
		others []string
	}{
		{
			sqltext.Taken{Functions: set("lower")},
			[]string{"SELECT lower(a) FROM t", `SELECT 1 FROM t WHERE "lower"(a) > 'x'`, "INSERT INTO t SELECT LOWER('x')"},
			[]string{"SELECT upper(a) FROM t", "SELECT pg_catalog.lower(a) FROM t", "SELECT t.lower FROM t", "SELECT a = 1 FROM t"},
		},
		{
			sqltext.Taken{Functions: set("json_value")}, []string{"SELECT json_value('x', 'y')"}, []string{"SELECT json_query('x', 'y')"},
		},
		{
			sqltext.Taken{Operators: set("=")},
			[]string{
				"SELECT a = 1 FROM t", "SELECT 1 FROM t WHERE a IN (1, 2)", "SELECT 1 FROM t WHERE a IN (SELECT b FROM u)", "SELECT 1 FROM t WHERE (a, b) NOT IN (SELECT 1, 2)",
				"SELECT CASE a WHEN 1 THEN 2 END FROM t", "SELECT 1 FROM t JOIN u USING (a)", "SELECT 1 FROM t NATURAL JOIN u", "SELECT NULLIF(a, b) FROM t",
				"SELECT a IS DISTINCT FROM b FROM t", "UPDATE t SET a = 2 WHERE a = ANY (ARRAY[1])", "SELECT 1 FROM t JOIN u ON t.a = u.a",
			},
			[]string{"SELECT a < 1 FROM t", "UPDATE t SET a = 1", "SELECT a OPERATOR(pg_catalog.=) 1 FROM t", "SELECT CASE WHEN a > 1 THEN 2 END FROM t", "SELECT 1 FROM t CROSS JOIN u"},
		},
		{
			sqltext.Taken{Operators: set(">=")},
			[]string{"SELECT 1 FROM t WHERE a BETWEEN 1 AND 2", "SELECT 1 FROM t WHERE a BETWEEN SYMMETRIC 1 AND 2", "SELECT 1 FROM t ORDER BY a USING >="},
			[]string{"SELECT 1 FROM t WHERE a NOT BETWEEN 1 AND 2", "SELECT 1 FROM t ORDER BY a"},
		},
		{
			sqltext.Taken{Types: set("couple")},
			[]string{"SELECT a::couple FROM t", "SELECT CAST(a AS public.couple[]) FROM t", "SELECT couple '(1,2)'", "CREATE TABLE n (a couple)"},
			[]string{"SELECT a::text FROM t", "SELECT couple FROM t"},
		},
		{
			sqltext.Taken{RowCalls: set("wipe")}, []string{"SELECT t.wipe FROM t"}, []string{"SELECT t.a FROM t"},
		},
	} {
		for _, text := range test.using {
			s := analyzer.Analyze([]byte(text), usual).Calling(test.taken).Statements[0]
			if !s.Opaque || s.ReadOnly || s.Lineage != nil && len(s.Lineage.Outputs) > 0 && !s.Lineage.Outputs[0].Unknown {
				t.Errorf("%s, with %+v: %+v", text, test.taken, s)
			}
		}
		for _, text := range test.others {
			as := analyzer.Analyze([]byte(text), usual)
			if as.Calling(test.taken) != as || as.Statements[0].Opaque {
				t.Errorf("%s, with %+v: another analysis", text, test.taken)
			}
		}
	}
}
