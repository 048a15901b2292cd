package sqltext_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// serverBinaries is where Debian keeps the newest PostgreSQL's.
func serverBinaries() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // fails for a bad pattern only
	if len(found) == 0 {
		return "/usr/lib/postgresql"
	}
	return found[len(found)-1]
}

// startServer runs a PostgreSQL of its own, on a socket only, until the test
// ends. It refuses to run as root, so the test must be root to become someone
// else.
func startServer(t *testing.T) *pgx.Conn {
	t.Helper()
	dir, err := os.MkdirTemp("", "sqltext-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := credentialOf(t, "postgres")
	if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(serverBinaries(), name), args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("initdb", "-D", "data", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", "-c listen_addresses='' -c fsync=off -k "+dir, "start")
	t.Cleanup(func() { run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop") })
	conn, err := pgx.Connect(t.Context(), "host="+dir+" user=postgres database=postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func credentialOf(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func exec1(t *testing.T, conn *pgx.Conn, sql string) error {
	t.Helper()
	_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	return err
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if err := exec1(t, conn, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestAgainstAServer(t *testing.T) {
	conn := startServer(t)
	t.Run("BuiltinsAreTheServersHarmlessOnes", func(t *testing.T) { builtinsMatch(t, conn) })
	t.Run("ReadOnlyStatementsRunInAReadOnlyTransaction", func(t *testing.T) { readOnlyHolds(t, conn) })
	t.Run("RowCallsAreTheServers", func(t *testing.T) { rowCallsMatch(t, conn) })
	t.Run("ShadowQuerySeesWhatTakesABuiltinName", func(t *testing.T) { shadowsSeen(t, conn) })
	t.Run("TakenQueryTellsWhatIsTaken", func(t *testing.T) { takenSeen(t, conn) })
}

// builtinsMatch compares the embedded lists with what their queries find.
func builtinsMatch(t *testing.T, conn *pgx.Conn) {
	for _, list := range []string{"functions", "operators"} {
		query, err := os.ReadFile("testdata/" + list + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		rows, err := conn.Query(t.Context(), string(query))
		if err != nil {
			t.Fatal(err)
		}
		want, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		file := "builtin_" + list + ".txt"
		text := strings.Join(want, "\n") + "\n"
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(got)); diff != "" {
			t.Errorf("%s (-server +ours):\n%s", file, diff)
		}
	}
}

// alsoReadOnly are statements for the server beside the golden ones: what
// PostgreSQL's own clients and drivers send.
var alsoReadOnly = []string{
	"SELECT abalance FROM pgbench_accounts WHERE aid = 1",
	"SELECT n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','') AND n.nspname !~ '^pg_toast' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2",
	"SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef) FROM pg_catalog.pg_attribute a WHERE a.attnum > 0",
	"SELECT current_setting('server_version_num'), current_schema(), version()",
	"SELECT t.oid, t.typname, t.typelem FROM pg_type t WHERE t.typname = ANY (ARRAY['int4', 'text'])",
	"SELECT to_char(now(), 'YYYY'), date_trunc('day', now()), age(now()), extract(epoch FROM now())",
	"SELECT string_agg(x::text, ',' ORDER BY x), percentile_cont(0.5) WITHIN GROUP (ORDER BY x), count(DISTINCT x) FROM generate_series(1, 10) x",
	"SELECT row_number() OVER w, lag(x) OVER w FROM generate_series(1, 3) x WINDOW w AS (ORDER BY x)",
	"SELECT regexp_replace('abc', 'b', 'x'), split_part('a,b', ',', 1), md5('x'), encode('x', 'hex'), quote_ident('a')",
	"SELECT jsonb_build_object('a', 1) -> 'a', '{\"a\": [1]}'::jsonb #>> '{a,0}', jsonb_array_elements('[1]')",
	"SELECT 'a b'::tsvector @@ to_tsquery('a'), '192.0.2.0/24'::inet >> '192.0.2.1', int4range(1, 3) @> 2",
	"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n",
	"SELECT * FROM (VALUES (1, 'a')) v(x, y) WHERE (x, y) IN ((1, 'a')) OR x BETWEEN SYMMETRIC 3 AND 1",
	"SELECT xmlelement(name a, 1), xmlforest(1 AS b), xpath('/a', '<a/>'::xml)",
	"SELECT GROUPING(x), x FROM generate_series(1, 2) x GROUP BY ROLLUP (x) HAVING count(*) > 0 LIMIT 1 OFFSET 0",
	"SELECT pg_sleep(0), clock_timestamp(), random(), gen_random_uuid()",
	"EXPLAIN (COSTS off, FORMAT json) SELECT 1",
	"EXPLAIN ANALYZE SELECT count(*) FROM pg_class",
	"EXPLAIN DELETE FROM pgbench_accounts",
	"EXPLAIN CREATE TABLE nothing AS SELECT 1",
	"DECLARE cur CURSOR FOR SELECT 1",
	"DECLARE held CURSOR WITH HOLD FOR SELECT 1",
	"COPY (SELECT 1) TO STDOUT",
	"COPY pgbench_accounts TO STDOUT",
	"SHOW ALL",
	"SELECT 1; SELECT 2; SHOW server_version",
	"SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a",
}

// readOnlyHolds runs what is proven read-only where the server refuses writes.
func readOnlyHolds(t *testing.T, conn *pgx.Conn) {
	texts, _ := readGolden(t)
	texts = append(texts, alsoReadOnly...)
	var proven []string
	for _, text := range texts {
		analysis := analyzer.Analyze([]byte(text), usual)
		if !isReadOnly(analysis) {
			if slices.Contains(alsoReadOnly, text) {
				t.Errorf("not proven read-only: %s", text)
			}
			continue
		}
		proven = append(proven, text)
		createRelations(t, conn, analysis)
	}
	mustExec(t, conn, "CREATE TABLE pgbench_accounts (aid int, abalance int)")
	ran := 0
	for _, text := range proven {
		mustExec(t, conn, "START TRANSACTION READ ONLY")
		err := exec1(t, conn, text)
		mustExec(t, conn, "ROLLBACK")
		var refused *pgconn.PgError
		switch {
		case err == nil:
			ran++
		case !errors.As(err, &refused):
			t.Fatalf("%s: %v", text, err)
		case refused.Code == "25006":
			t.Errorf("%s: %v", text, err)
		}
	}
	if ran < 60 {
		t.Errorf("only %d of %d statements ran to their end", ran, len(proven))
	}
}

// rowCallsMatch writes each function that might take a row as a column of one.
func rowCallsMatch(t *testing.T, conn *pgx.Conn) {
	rows, err := conn.Query(t.Context(), `SELECT DISTINCT proname FROM pg_proc WHERE pronargs >= 1 AND pronargs - pronargdefaults <= 1`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	harmless := []string{"count", "pg_column_compression", "num_nonnulls", "num_nulls", "pg_typeof"}
	called := 0
	for _, name := range names {
		if exec1(t, conn, fmt.Sprintf(`SELECT x.%q FROM (SELECT 1 AS a, 'v'::text AS b) x`, name)) != nil {
			continue
		}
		called++
		if !sqltext.IsRowCall(name) && !slices.Contains(harmless, name) {
			t.Errorf("x.%s is a call that lineages do not know", name)
		}
	}
	if called < 15 {
		t.Errorf("only %d functions can be written as columns", called)
	}
}

func isReadOnly(a *sqltext.Analysis) bool {
	return a.Parsed && !slices.ContainsFunc(a.Statements, func(st sqltext.Statement) bool { return !st.ReadOnly })
}

// createRelations makes tables of the names in a, with columns enough for most
// statements to get past the server's analysis.
func createRelations(t *testing.T, conn *pgx.Conn, a *sqltext.Analysis) {
	t.Helper()
	for _, st := range a.Statements {
		for _, relation := range st.Relations {
			schema, name, qualified := strings.Cut(relation, ".")
			if strings.ContainsAny(relation, `" `) || schema == "pg_catalog" || strings.HasPrefix(relation, "pg") {
				continue
			}
			if qualified {
				mustExec(t, conn, "CREATE SCHEMA IF NOT EXISTS "+schema)
			} else {
				name = schema
			}
			mustExec(t, conn, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (id int, a int, b int, c text, d date, e int, %s text, ssn text, email text, name text)", relation, "f_"+name))
		}
	}
}

func shadowsSeen(t *testing.T, conn *pgx.Conn) {
	shadowed := func() (yes bool) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), sqltext.ShadowQuery).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if shadowed() {
		t.Error("a fresh database is shadowed")
	}
	mustExec(t, conn, "CREATE TYPE pair AS (a int, b int)")
	for _, test := range []struct{ create, drop string }{
		{
			"CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1'",
			"DROP FUNCTION public.lower(varchar)",
		},
		{
			"CREATE FUNCTION public.secret(pair) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
			"DROP FUNCTION public.secret(pair)",
		},
		{
			"CREATE FUNCTION public.secret(pair, int DEFAULT 1) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
			"DROP FUNCTION public.secret(pair, int)",
		},
		{
			"CREATE FUNCTION public.json_value(text, text) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
			"DROP FUNCTION public.json_value(text, text)",
		},
		{
			"CREATE OPERATOR public.= (leftarg = varchar, rightarg = int, function = texteq_int)",
			"DROP OPERATOR public.= (varchar, int)",
		},
	} {
		mustExec(t, conn, "CREATE OR REPLACE FUNCTION texteq_int(varchar, int) RETURNS bool LANGUAGE sql AS 'SELECT true'")
		mustExec(t, conn, test.create)
		if !shadowed() {
			t.Errorf("not seen: %s", test.create)
		}
		mustExec(t, conn, test.drop)
	}
	if shadowed() {
		t.Error("shadowed after all is dropped")
	}
	mustExec(t, conn, "CREATE FUNCTION public.my_own(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
	if shadowed() {
		t.Error("a function with a name of its own counts")
	}
}
