package sqltext_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// sources prints an output: its sources sorted, "?" where it is unknown, "="
// where it is direct.
func sources(o lineage.Output) string {
	var parts []string
	for _, s := range o.Sources {
		parts = append(parts, s.Relation+"/"+s.Column)
	}
	slices.Sort(parts)
	if o.Unknown {
		parts = append(parts, "?")
	}
	if o.Direct && len(o.Sources) > 0 {
		parts = append(parts, "=")
	}
	return strings.Join(parts, " ")
}

func TestOutputsNameWhereValuesComeFrom(t *testing.T) {
	a := sqltext.New()
	for _, test := range []struct {
		text string
		want []string
	}{
		{"SELECT 1, 'x', now(), $1::int", []string{"", "", "", ""}},
		{"SELECT a, b+1, upper(c) FROM t", []string{"t/a =", "t/b", "t/c"}},
		{"SELECT count(*), count(a), count(DISTINCT a), a IS NULL FROM t", []string{"", "", "", ""}},
		{"SELECT count(*) OVER (ORDER BY a), row_number() OVER w FROM t WINDOW w AS (ORDER BY b)", []string{"t/a t/b", "t/b"}},
		{"SELECT x.a FROM t x, u y", []string{"t/a ="}},
		{"SELECT a FROM t x, u y", []string{"t/a u/a ="}},
		{"SELECT x FROM t x", []string{"t/* t/x"}},
		{"SELECT (x).a, (x.*)::text, row_to_json(x) FROM t x", []string{"t/* t/x", "t/*", "t/* t/x"}},
		{"SELECT * FROM t", []string{"t/*"}},
		{"SELECT t.*, 1 FROM t, u", []string{"t/*", ""}},
		{"SELECT v FROM (SELECT a v, b FROM t) s", []string{"t/a ="}},
		{"SELECT s.b FROM (SELECT * FROM t) s", []string{"t/b ="}},
		{"SELECT s.y FROM (SELECT a, b FROM t) s(x, y)", []string{"t/b ="}},
		{"SELECT s.y FROM t s(x, y)", []string{"t/*"}},
		{"SELECT m FROM (SELECT max(a) m FROM t) s", []string{"t/a"}},
		{"SELECT max FROM (SELECT max(a), b FROM t) s", []string{"t/a"}},
		{"WITH c AS (SELECT a FROM t) SELECT a, 1 FROM c", []string{"t/a =", ""}},
		{"WITH c(z) AS (SELECT a FROM t) SELECT z||'' FROM c", []string{"t/a"}},
		{"WITH t AS (SELECT 1 AS a) SELECT a FROM t", []string{""}},
		{"WITH c AS (SELECT a FROM c) SELECT a FROM c", []string{"c/a ="}},
		{"WITH RECURSIVE r AS (SELECT 1 n, a FROM t UNION ALL SELECT n+1, b FROM r, u) SELECT n FROM r", []string{"t/a u/b u/n"}},
		{"WITH RECURSIVE x AS (SELECT a FROM y), y AS (SELECT b AS a FROM t) SELECT a FROM x", []string{"t/b ="}},
		{"SELECT a FROM t UNION SELECT b FROM u", []string{"t/a u/b ="}},
		{"SELECT a, 1 FROM t UNION SELECT * FROM u", []string{"t/a u/*"}},
		{"VALUES (1, (SELECT a FROM t)), (2, 'x')", []string{"", "t/a"}},
		{"SELECT (SELECT a FROM t), ARRAY(SELECT b FROM t), EXISTS (SELECT a FROM t), 1 IN (SELECT a FROM t)", []string{"t/a", "t/b", "", "t/a"}},
		{"SELECT (SELECT x.a) FROM t x", []string{"t/a"}},
		{"SELECT (SELECT a) FROM t", []string{"t/a"}},
		{"SELECT CASE WHEN a THEN 1 END, coalesce(b, c), nullif(a, b), greatest(a) FROM t", []string{"t/a", "t/b t/c", "t/a t/b", "t/a"}},
		{"SELECT f.x FROM t, unnest(t.a) f(x)", []string{"t/a"}},
		{"SELECT unnest FROM t, unnest(t.a)", []string{"t/a t/unnest"}},
		{"SELECT l.b FROM t, LATERAL (SELECT t.a AS b) l", []string{"t/a ="}},
		{"SELECT x.to_json, x.name, t.count FROM t x, t", []string{"t/* t/to_json", "t/name =", "t/count ="}},
		{"SELECT x.row_to_json FROM (SELECT a, (b) FROM t) x", []string{"t/a t/b"}},
		{"SELECT x.to_json, x.concat FROM (SELECT to_json(a), b FROM t) x", []string{"t/a", "t/a t/b"}},
		{"SELECT x.q FROM (SELECT a, b FROM t) c, LATERAL (VALUES (c.*, 1)) AS x(p, q)", []string{"t/a t/b"}},
		{"SELECT x.q, x.column2 FROM (SELECT a, b FROM t) c, LATERAL (VALUES (1, 2, 3), ((c).*, 1)) AS x", []string{"t/a t/b", "t/a t/b"}},
		{"SELECT j.a FROM (t JOIN u ON true) AS j", []string{"t/a u/a ="}},
		{"SELECT a FROM t JOIN u USING (a)", []string{"t/a u/a ="}},
		{"SELECT mine(1), mine(a) FROM t", []string{"?", "t/a ?"}},
		{"SELECT a @#@ 1 FROM t", []string{"t/a ?"}},
		{"SELECT nobody.a FROM t", []string{"?"}},
		{"SELECT a", []string{"?"}},
		{"TABLE t", []string{"t/*"}},
		{"DECLARE k CURSOR FOR SELECT a||'' FROM s.t", []string{"s.t/a"}},
		{"COPY (SELECT a FROM t) TO STDOUT", []string{"t/a ="}},
		{"INSERT INTO t (a) VALUES (1) RETURNING a, b||''", []string{"t/a =", "t/b"}},
		{"UPDATE t SET a = 1 FROM u RETURNING u.b", []string{"u/b ="}},
		{"DELETE FROM t x USING u RETURNING x.a||u.b", []string{"t/a u/b"}},
		{"WITH w AS (DELETE FROM t RETURNING a) SELECT a||'' FROM w", []string{"t/a"}},
		{"SELECT xmlelement(name e, a), xmlforest(b) FROM t", []string{"t/a", "t/b"}},
		{"SELECT json_build_object('k', a), JSON_OBJECT('k': b) FROM t", []string{"t/a", "t/b"}},
		{"SELECT x.* FROM XMLTABLE('/r' PASSING (SELECT a FROM t) COLUMNS b text) x", []string{"t/a"}},
	} {
		l := traceOf(t, a, test.text)
		var got []string
		for _, o := range l.Outputs {
			got = append(got, sources(o))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.text, got, test.want)
		}
	}
}

func traceOf(t *testing.T, a *sqltext.Analyzer, text string) *lineage.Trace {
	t.Helper()
	found := a.Analyze([]byte(text), sqltext.Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true})
	if !found.Parsed || len(found.Statements) == 0 || found.Statements[0].Lineage == nil {
		t.Fatalf("%s: %+v", text, found)
	}
	return found.Statements[0].Lineage
}

func TestWrittenNamesWhatIsPutWhere(t *testing.T) {
	a := sqltext.New()
	for _, test := range []struct {
		text string
		want []string
	}{
		{"INSERT INTO t (a, b) SELECT x, 1 FROM u", []string{"t.a <- u/x =", "t.b <- "}},
		{"INSERT INTO t SELECT x, y||'' FROM u", []string{"t. <- u/x =", "t. <- u/y"}},
		{"INSERT INTO t (a, b) SELECT * FROM u", []string{"t.a <- u/*", "t.b <- u/*"}},
		{"INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = excluded.a || t.c", []string{"t.a <- ", "t.b <- t/a t/c"}},
		{"UPDATE t SET a = lower(b), c = 1 WHERE d = 'x'", []string{"t.a <- t/b", "t.c <- "}},
		{"UPDATE t SET (a, b) = (SELECT x, y FROM u)", []string{"t.a <- t/x t/y u/x u/y", "t.b <- t/x t/y u/x u/y"}},
		{"MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET a = u.x WHEN NOT MATCHED THEN INSERT (b) VALUES (u.y)", []string{"t.a <- u/x =", "t.b <- u/y ="}},
		{"CREATE TABLE n AS SELECT a FROM t", []string{"n. <- t/a ="}},
		{"SELECT a INTO n FROM t", []string{"n. <- t/a ="}},
		{"WITH w AS (INSERT INTO t (a) SELECT x FROM u) SELECT 1", []string{"t.a <- u/x ="}},
		{"DELETE FROM t WHERE a = 'x'", nil},
	} {
		var got []string
		for _, w := range traceOf(t, a, test.text).Written {
			got = append(got, fmt.Sprintf("%s.%s <- %s", w.Relation, w.Column, sources(w.Output)))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.text, got, test.want)
		}
	}
}

func TestStarsLeaveTheColumnsAroundThemKnown(t *testing.T) {
	l := traceOf(t, sqltext.New(), "SELECT a, t.*, 1, u.*, b FROM t, u")
	for i, want := range []string{"t/a u/a =", "t/* u/*", "t/* u/*", "t/* u/*", "t/b u/b ="} {
		if got := sources(l.At(i, 5)); got != want {
			t.Errorf("column %d: got %q, want %q", i, got, want)
		}
	}
	if l := traceOf(t, sqltext.New(), "SELECT a FROM t"); !l.At(0, 2).Unknown {
		t.Error("a column more than the text has is known")
	}
}

func TestNamesThatMultiplyAreGivenUp(t *testing.T) {
	var text strings.Builder
	text.WriteString("WITH c0 AS (SELECT a FROM t)")
	for i := 1; i < 200; i++ {
		fmt.Fprintf(&text, ", c%d AS (SELECT x.a||y.a AS a, (SELECT * FROM c%d LIMIT 1) FROM c%d x, c%d y, c%d)", i, i-1, i-1, i-1, i-1)
	}
	text.WriteString(" SELECT a FROM c199")
	l := traceOf(t, sqltext.New(), text.String())
	if o := l.At(0, 1); !o.Unknown && sources(o) != "t/a" {
		t.Errorf("got %q", sources(o))
	}
}

func TestCopyTellsWhatItSends(t *testing.T) {
	a := sqltext.New()
	for _, test := range []struct{ text, query, format string }{
		{"COPY t TO STDOUT", `SELECT * FROM ONLY "t"`, "text"},
		{`COPY "S"."t""x" (a, "B") TO STDOUT WITH (FORMAT csv, HEADER)`, `SELECT "a", "B" FROM ONLY "S"."t""x"`, "csv"},
		{"COPY (SELECT ')', \")\", (a) FROM t /* ) */) TO STDOUT (FORMAT binary)", `SELECT ')', ")", (a) FROM t /* ) */`, "binary"},
		{"COPY /*(*/ (VALUES (1)) TO STDOUT CSV", "VALUES (1)", "csv"},
	} {
		found := a.Analyze([]byte(test.text), sqltext.Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true})
		c := found.Statements[0].CopyTo
		if c == nil || c.Query != test.query || c.Format != test.format || !c.Known {
			t.Errorf("%s: got %+v", test.text, c)
		}
	}
	for _, text := range []string{"COPY t TO STDOUT (ENCODING 'LATIN1')", "COPY t TO STDOUT (FORMAT parquet)"} {
		if c := a.Analyze([]byte(text), sqltext.Options{StandardConformingStrings: true, UTF8: true}); !c.Parsed || c.Statements[0].CopyTo == nil || c.Statements[0].CopyTo.Known {
			t.Errorf("%s: got %+v", text, c)
		}
	}
}
