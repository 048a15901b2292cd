package sqltext_test

import (
	"sort"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// nested are ways to make a tree deep: before, n times open, core, n times
// close, after.
var nested = []struct{ name, before, open, core, close, after string }{
	{"brackets", "SELECT ", "(1+", "1", ")", ""},
	{"sum", "SELECT 1", "+1", "", "", ""},
	{"not", "SELECT ", "NOT ", "true", "", ""},
	{"minus", "SELECT ", "- ", "a", "", ""},
	{"cast", "SELECT 1", "::a", "", "", ""},
	{"collate", "SELECT a", ` COLLATE "C"`, "", "", ""},
	{"time zone", "SELECT a", " AT TIME ZONE b", "", "", ""},
	{"union", "SELECT 1, 2", " UNION SELECT 1, 2", "", "", ""},
	{"union with conditions", "SELECT 1", " UNION SELECT 1 WHERE a AND b", "", "", ""},
	{"except", "VALUES (1, 2)", " EXCEPT VALUES (1, 2)", "", "", ""},
	{"join", "SELECT FROM a", " JOIN b ON c AND d OR e", "", "", ""},
	{"case", "SELECT ", "CASE WHEN a AND b THEN ", "1", " END", ""},
	{"case between commas", "SELECT ", "CASE a WHEN b OR c THEN f(1, ", "1", ") END", ""},
	{"between", "SELECT ", "1 BETWEEN 1 AND NOT ", "true", "", ""},
	{"calls", "SELECT ", "f(a, ", "1", ")", ""},
	{"arrays", "SELECT ", "ARRAY[1, ", "2", "]", ""},
	{"rows", "SELECT ", "ROW(1, ", "1", ")", ""},
	{"in", "SELECT ", "a IN (1, ", "1", ")", ""},
	{"subqueries", "", "SELECT 1, (", "SELECT 1", ")", ""},
	{"derived tables", "", "SELECT * FROM b, (", "SELECT 1", ") a", ""},
	{"with", "", "WITH a AS (", "SELECT 1", ") SELECT 1", ""},
	{"data-modifying with", "", "WITH a AS (INSERT INTO t ", "SELECT 1", ") SELECT 1", ""},
	{"exists", "SELECT ", "EXISTS (SELECT FROM t WHERE a AND ", "true", ")", ""},
	{"filter", "SELECT ", "f() FILTER (WHERE ", "true", ")", ""},
	{"over", "SELECT ", "f() OVER (ORDER BY a, ", "1", ")", ""},
	{"check", "CREATE TABLE a (b int CHECK (", "(1 + ", "1", ")", "))"},
	{"view", "CREATE VIEW v AS ", "SELECT (", "SELECT 1", ")", ""},
	{"and", "SELECT a", " AND b", "", "", ""},
	{"and or", "SELECT ", "(a OR b AND ", "c", ")", ""},
	{"json table", "SELECT FROM json_table(a, '$' COLUMNS (", "NESTED PATH '$' COLUMNS (", "a int", ")", "))"},
	{"xml", "SELECT ", "xmlelement(NAME a, ", "1", ")", ""},
	{"json", "SELECT ", "json_array(1, ", "1", ")", ""},
	{"indirection", "SELECT (a)", ".b[1]", "", "", ""},
	{"function body", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT ", "CASE WHEN a THEN ", "1", " END", "; END"},
	{"rule", "CREATE RULE r AS ON INSERT TO t DO (", "SELECT (", "SELECT 1", ")", "; SELECT 2)"},
}

// A tree that is too deep overflows the sandbox's stack, and the parser is
// lost. So: at any depth a statement is parsed or refused, and the parser
// works afterwards.
func TestNoDepthBreaksTheParser(t *testing.T) {
	for _, form := range nested {
		t.Run(form.name, func(t *testing.T) {
			text := func(n int) string {
				return form.before + strings.Repeat(form.open, n) + form.core + strings.Repeat(form.close, n) + form.after
			}
			deepest := sort.Search(8192, func(n int) bool { return !sqltext.Readable(text(n)) }) - 1
			if deepest > sqltext.MaxNesting && form.name != "and" {
				t.Errorf("%d levels go to the parser", deepest)
			}
			for _, n := range []int{20, deepest} {
				if got := sqltext.AnalyzeAlone(analyzer, text(n)); !got.Parsed {
					t.Fatalf("%d levels: %s", n, got.Why)
				}
			}
			if after := sqltext.AnalyzeAlone(analyzer, "SELECT 1"); !after.Parsed {
				t.Fatalf("the parser is lost: %s", after.Why)
			}
		})
	}
}

// Flat lists may be long: they do not make a tree deep.
func TestLongListsAreNotDeep(t *testing.T) {
	for name, text := range map[string]string{
		"rows":       "INSERT INTO t VALUES (1, 'a')" + strings.Repeat(", (2, 'b')", 4000),
		"values":     "SELECT * FROM t WHERE a IN (1" + strings.Repeat(", 2", 10000) + ")",
		"conditions": "SELECT * FROM t WHERE a = 1" + strings.Repeat(" OR a = 2", 3000),
		"pairs":      "SELECT * FROM t WHERE (a = 1 AND b = 2)" + strings.Repeat(" OR (a = 1 AND b = 2)", 2000),
		"statements": strings.Repeat("SELECT 1 + 2;", 3000),
		"columns":    "SELECT a + 1" + strings.Repeat(", b + 1", 5000),
	} {
		if got := analyzer.Analyze([]byte(text), usual); !got.Parsed {
			t.Errorf("%s: %s", name, got.Why)
		}
	}
}
