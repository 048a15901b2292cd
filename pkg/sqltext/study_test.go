package sqltext_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

func TestRowsThatAStatementChangesAreAQuery(t *testing.T) {
	for text, want := range map[string]string{
		"DELETE FROM t": "SELECT 1 FROM t",
		"UPDATE ONLY s.t AS x SET a = f() WHERE x.b=1":                                     "SELECT 1 FROM ONLY s.t x WHERE x.b = 1",
		"update t set a = 1 where b in (1,2) and not c is null returning g(a)":             "SELECT 1 FROM t WHERE b IN (1, 2) AND NOT c IS NULL",
		"DELETE FROM t USING u, v WHERE t.id = u.id AND v.x = $1":                          "SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM u, v WHERE t.id = u.id AND v.x = $1)",
		"UPDATE t SET a = 1 FROM u WHERE u.id = t.id":                                      "SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
		"WITH old AS (SELECT id FROM u) DELETE FROM t WHERE id IN (SELECT id FROM old)":    "WITH old AS (SELECT id FROM u) SELECT 1 FROM t WHERE id IN (SELECT id FROM old)",
		`DELETE FROM "My ""T" WHERE "A.b" = 'it''s' /* a comment */ AND c BETWEEN 1 AND 2`: `SELECT 1 FROM "My ""T" WHERE "A.b" = 'it''s' AND c BETWEEN 1 AND 2`,
	} {
		study := analyzer.Study([]byte(text))
		if study.Affected == nil || study.Affected.Query != want {
			t.Errorf("%s: got %+v, %s", text, study.Affected, study.Why)
		}
	}
}

func TestRowsOfWhatMayCallAnythingAreNotTold(t *testing.T) {
	for _, text := range []string{
		"DELETE FROM t WHERE f(a)", "DELETE FROM t WHERE a @#@ b", "DELETE FROM t WHERE a OPERATOR(s.=) b", "DELETE FROM t WHERE a::s.own = b",
		"DELETE FROM t WHERE a::t.b%TYPE = b", "DELETE FROM t WHERE CURRENT OF c", "DELETE FROM t WHERE query_to_xml('x', true, true, '') IS NULL",
		"WITH d AS (DELETE FROM u RETURNING id) DELETE FROM t WHERE id IN (SELECT id FROM d)", "DELETE FROM t WHERE nextval('s') > 0",
		"DELETE FROM t WHERE id IN (SELECT id FROM u FOR UPDATE)", "DELETE FROM t USING f() WHERE true", "DELETE FROM t; DELETE FROM t",
		"INSERT INTO t VALUES (1)", "SELECT 1", "DO 'x'", "EXECUTE p", "DELETE FROM t WHERE a = 'x\\y'", "DELETE FROM", "DELETE FROM t WHERE a = 'x\xff'",
		"PREPARE p AS DELETE FROM t", "EXPLAIN ANALYZE DELETE FROM t", "DELETE FROM t WHERE public.lower(a) = 'x'", "",
		"DELETE FROM t WHERE a = " + strings.Repeat("(", 500) + "1" + strings.Repeat(")", 500), strings.Repeat(" ", 70<<10) + "DELETE FROM t",
	} {
		if study := analyzer.Study([]byte(text)); study.Affected != nil || study.Why == "" {
			t.Errorf("%.60s: got %+v, %q", text, study.Affected, study.Why)
		}
	}
}

func TestConditionsAreDoubtedUnlessTheyOnlyCompare(t *testing.T) {
	for text, doubted := range map[string]bool{
		"DELETE FROM t": false,
		"DELETE FROM t WHERE a = 1 AND (b LIKE 'x%' OR c IS NOT NULL)": false,
		"DELETE FROM t WHERE lower(a) = 'x' AND b = ANY ('{1,2}')":     false,
		"DELETE FROM t WHERE a = '1'::int AND b > '2024-01-01'::date":  false,
		"DELETE FROM t WHERE a::text = 'x'":                            true,
		"DELETE FROM t WHERE a < current_timestamp":                    true,
		"DELETE FROM t WHERE a = current_user":                         true,
		"DELETE FROM t WHERE CASE WHEN a THEN b END":                   true,
		"DELETE FROM t WHERE a @> '{}'":                                true,
		"DELETE FROM t USING u TABLESAMPLE system (1) WHERE t.a = u.a": true,
	} {
		study := analyzer.Study([]byte(text))
		if study.Affected == nil || (study.Affected.Doubt != "") != doubted {
			t.Errorf("%s: got %+v, %s", text, study.Affected, study.Why)
		}
	}
	study := analyzer.Study([]byte("DELETE FROM s.t WHERE x.a + 1 = lower(b)::pg_catalog.text"))
	if a := study.Affected; a == nil || !a.Arithmetic || !slices.Equal(a.Refs, []string{"a", "b"}) || !slices.Equal(a.Functions, []string{"lower"}) || !slices.Equal(a.Types, []string{"text"}) {
		t.Errorf("got %+v", a)
	}
}

func TestNamesAreTakenApartAsTheyWereWritten(t *testing.T) {
	for name, want := range map[string][]string{
		"t": {"t"}, "s.t": {"s", "t"}, `"a.b"`: {"a.b"}, `s."a""b"`: {"s", `a"b`}, `"a.b"."c.d"`: {"a.b", "c.d"}, `"`: {""}, `"a`: {"a"}, "": {""},
	} {
		if got := sqltext.SplitName(name); !slices.Equal(got, want) {
			t.Errorf("%q: got %q", name, got)
		}
	}
}
