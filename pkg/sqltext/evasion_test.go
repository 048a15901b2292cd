package sqltext_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// Each text is the first of its group in disguise: whatever a rule sees of the
// first it must see of the others.
func TestDisguiseChangesNothing(t *testing.T) {
	groups := map[string][]string{
		"drop": {
			"DROP TABLE public.users",
			"drop/**/table/*x*/public . users",
			"DrOp\ttAbLe\npublic.users;",
			"/* SELECT 1; -- */ DROP TABLE public.users -- SELECT",
			"--\n--\rDROP TABLE public.users",
			"/* /* nested */ still */ DROP TABLE public.users",
			`DROP TABLE "public"."users"`,
			`DROP TABLE U&"\0070ublic".U&"u\+000073ers"`,
			`DROP TABLE U&"!0070ublic" UESCAPE '!' . users`,
			";;; DROP TABLE public.users ;;;",
			"DROP TABLE public.Users",
			"DROP TABLE shop.public.users",
			"DROP TABLE public.users" + strings.Repeat(" ", 9<<20),
			strings.Repeat("/* padding */", 700_000) + "DROP TABLE public.users",
			strings.Repeat("-- padding\n", 800_000) + "DROP TABLE public.users",
		},
		"delete": {
			"DELETE FROM users WHERE email = 'a'",
			"DELETE FROM users WHERE email = E'\\x61'",
			"DELETE FROM users WHERE email = $$a$$",
			"DELETE FROM users WHERE email = $q$; DROP TABLE users; --$q$",
			"DELETE FROM users WHERE email = '; DROP TABLE users; --'",
			"DELETE FROM users WHERE email = U&'\\0061'",
			"DELETE FROM users WHERE email = 'a'\n'b'",
			"DELETE FROM users WHERE email = N'a'",
			"DELETE FROM users WHERE email = ''''",
			"DELETE FROM users WHERE email = '\\'",
			"DELETE FROM users WHERE email = '" + strings.Repeat("x", 1<<20) + "'",
		},
		"role": {
			"SET ROLE admin",
			"set role = admin",
			"SET \"role\" TO 'admin'",
			"SET SESSION ROLE admin",
			"SET/**/rOlE/**/TO/**/admin",
		},
		"function": {
			"SELECT pg_read_file('x')",
			"SELECT PG_READ_FILE('x')",
			`SELECT "pg_read_file"('x')`,
			`SELECT U&"pg_read\005ffile"('x')`,
			"SELECT pg_read_file/**/\n('x')",
			"SELECT pg_read_file(VARIADIC 'x')",
		},
	}
	for name, texts := range groups {
		t.Run(name, func(t *testing.T) {
			want := describe(analyzer.Analyze([]byte(texts[0]), usual))
			for _, text := range texts[1:] {
				got := describe(analyzer.Analyze([]byte(text), usual))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%.80q (-plain +disguised):\n%s", text, diff)
				}
			}
		})
	}
}

func TestWhatCannotBeReadIsNotParsed(t *testing.T) {
	ascii := sqltext.Options{StandardConformingStrings: true}
	for _, test := range []struct {
		name string
		text string
		opt  sqltext.Options
		why  string
	}{
		{"NUL", "SELECT 1\x00; DROP TABLE t", usual, "NUL"},
		{"invalid UTF-8", "SELECT '\xc3'", usual, "UTF-8"},
		{"overlong UTF-8", "SELECT '\xc0\xa7'", usual, "UTF-8"},
		{"surrogate", "SELECT '\xed\xa0\x80'", usual, "UTF-8"},
		{"another encoding", "SELECT 'é'", ascii, "encoding"},
		{"open string", "SELECT 'a", usual, "token"},
		{"open comment", "SELECT 1 /* /* */", usual, "token"},
		{"homoglyph", "DRОP TABLE t", usual, "parser does not accept"},
		{"fullwidth", "ＤＲＯＰ TABLE t", usual, "parser does not accept"},
		{"no-break space", "DROP\u00a0TABLE t", usual, "parser does not accept"},
		{"too large a statement", "SELECT " + strings.Repeat("a,", 40_000) + "a", usual, "too large"},
		{"too large a text", strings.Repeat(" ", 17<<20), usual, "too large"},
		{"large and its literals matter", "DO '" + strings.Repeat("x", 100_000) + "'", usual, "too large"},
		{"nested", "SELECT " + strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000), usual, "nested"},
		{"unicode string, strings not conforming", "SELECT U&'a'", sqltext.Options{}, "token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := analyzer.Analyze([]byte(test.text), test.opt)
			if got.Parsed || len(got.Statements) > 0 || !strings.Contains(got.Why, test.why) {
				t.Errorf("got %+v, want not parsed because of %q", got, test.why)
			}
		})
	}
}

// The same bytes are two texts, depending on standard_conforming_strings.
func TestStandardConformingStringsDecidesWhereAStringEnds(t *testing.T) {
	const text = `SELECT 'a\'; DROP TABLE t; --'`
	off := usual
	off.StandardConformingStrings = false
	if got := analyzer.Analyze([]byte(text), usual); len(got.Statements) != 2 {
		t.Errorf("on: got %+v, want a SELECT and a DROP TABLE", got.Statements)
	}
	if got := analyzer.Analyze([]byte(text), off); len(got.Statements) != 1 || !got.Statements[0].ReadOnly {
		t.Errorf("off: got %+v, want a SELECT only", got.Statements)
	}
	for _, text := range []string{`SELECT N'\''`, `SELECT 'a'`, "SELECT 'a'\n'\\''", `SELECT E'\'', '\''`} {
		if got := analyzer.Analyze([]byte(text), off); !got.Parsed || len(got.Statements) != 1 {
			t.Errorf("off: %s: got %+v", text, got)
		}
	}
	const set = `SET search_path = 'a\'b'`
	got := analyzer.Analyze([]byte(set), off)
	if len(got.Statements) != 1 || got.Statements[0].Effects[0].Values[0] != "a'b" {
		t.Errorf("off: %s: got %+v", set, got)
	}
}

func TestNamesAreNotTakenForBuiltinUnlessVouchedFor(t *testing.T) {
	opt := usual
	opt.BuiltinNames = false
	for text, want := range map[string]bool{
		"SELECT a FROM t":                                         true,
		"SELECT pg_catalog.lower(a) FROM t":                       true,
		"SELECT a OPERATOR(pg_catalog.=) 1 FROM t":                true,
		"SELECT lower(a) FROM t":                                  false,
		"SELECT a = 1 FROM t":                                     false,
		"SELECT a FROM t WHERE a IN (SELECT b FROM u)":            false, // by an = of the search_path
		"SELECT CASE a WHEN b THEN 1 END FROM t":                  false,
		"SELECT 1 FROM t JOIN u USING (a)":                        false,
		"SELECT 1 FROM t NATURAL JOIN u":                          false,
		"SELECT a FROM t WHERE (a, b) = ANY (SELECT c, d FROM u)": false,
		"SELECT a FROM t ORDER BY b USING <":                      false,
		"SELECT * FROM t TABLESAMPLE system (1)":                  false,
	} {
		got := analyzer.Analyze([]byte(text), opt)
		if !got.Parsed || got.Statements[0].ReadOnly != want || got.Statements[0].Opaque == want {
			t.Errorf("%s: got %+v, want read-only %v", text, got, want)
		}
	}
}

// TestKeywordsOfNewerServersAreNames: an older server takes these for calls of
// whatever has the name.
func TestKeywordsOfNewerServersAreNames(t *testing.T) {
	unvouched := usual
	unvouched.BuiltinNames = false
	for _, text := range []string{
		"SELECT json_value('x', 'y')", "SELECT json_query('x', 'y')", "SELECT json_exists('x', 'y')", "SELECT json_scalar('x')", "SELECT json_serialize('x')",
		"SELECT json('x')", "SELECT json_array('x')", "SELECT json_object('x', 'y')", "SELECT json_object()", "SELECT json_arrayagg(a) FROM t", "SELECT merge_action()",
	} {
		if s := analyzer.Analyze([]byte(text), unvouched).Statements[0]; !s.Opaque || s.ReadOnly || !s.Lineage.Outputs[0].Unknown {
			t.Errorf("%s: %+v", text, s)
		}
		if s := analyzer.Analyze([]byte(text), usual).Statements[0]; s.Opaque || !s.ReadOnly || s.Lineage.Outputs[0].Unknown {
			t.Errorf("with vouched names %s: %+v", text, s)
		}
	}
}
