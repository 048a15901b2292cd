package mysqltext_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/mysqltext"
)

// Each text is the first of its group in disguise: whatever a rule sees of the
// first it must see of the others.
func TestDisguiseChangesNothing(t *testing.T) {
	groups := map[string][]string{
		"drop": {
			"DROP TABLE shop.users",
			"drop/**/table/*x*/shop . users",
			"DrOp\ttAbLe\nshop.users;",
			"/* SELECT 1; -- */ DROP TABLE shop.users -- SELECT",
			"-- \n--\t\r\nDROP TABLE shop.users",
			"# SELECT\nDROP TABLE shop.users # x",
			"DROP TABLE `shop`.`users`",
			"DROP TABLE`shop`.`users`",
			"/*!DROP*/ TABLE shop.users",
			"/*!50000 DROP TABLE */ shop.users",
			"/*!50000DROP*/TABLE/*!40101 shop.*/users",
			"DROP /*!99999 VIEW */ TABLE shop.users",
			";;; DROP TABLE shop.users ;;;",
			"DROP TABLE/*+ hint */shop.users",
			"DROP TABLE/*T! x */shop.users",
			"DROP TABLE/*T![auto_rand] x */shop.users",
			"DROP TABLE/*M!99 x */shop.users",
			"DROP TABLES shop.users",
			"DROP TABLE shop.users" + strings.Repeat(" ", 9<<20),
			strings.Repeat("/* padding */", 700_000) + "DROP TABLE shop.users",
			strings.Repeat("-- padding\n", 800_000) + "DROP TABLE shop.users",
			strings.Repeat(";", 1000) + "DROP TABLE shop.users",
		},
		"delete": {
			"DELETE FROM users WHERE email = 'a'",
			"DELETE FROM users WHERE email = \"a\"",
			"DELETE FROM users WHERE email = '\\'; DROP TABLE users; -- '",
			"DELETE FROM users WHERE email = '''; DROP TABLE users; -- '",
			"DELETE FROM users WHERE email = \"'; DROP TABLE users; -- \"",
			"DELETE FROM users WHERE email = 'a' 'b'",
			"DELETE FROM users WHERE email = N'a'",
			"DELETE FROM users WHERE email = _utf8mb4'a'",
			"DELETE FROM users WHERE email = '" + strings.Repeat("x", 1<<20) + "'",
			"DELETE FROM users WHERE email = 'é\xff\xfe'",
			"DELETE FROM `users` WHERE EMAIL = 'a'",
			"DELETE/**/FROM users/*!50000 WHERE*/email='a'",
		},
		"insert": {
			"INSERT INTO t (a, b) VALUES (1, 'x')",
			"INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')",
			"INSERT INTO t (a, b) VALUES (1, 'x')" + strings.Repeat(", (-2, NULL)", 200_000),
		},
		"outfile": {
			"SELECT a FROM t INTO OUTFILE '/tmp/x'",
			"SELECT a INTO OUTFILE '/tmp/x' FROM t",
			"SELECT a FROM t INTO/**/OUTFILE'/tmp/x'",
			"SELECT a FROM t INTO OUTFILE \"/tmp/x\" FIELDS TERMINATED BY ',' LINES TERMINATED BY '\\n'",
			"SELECT a FROM t /*!INTO OUTFILE*/ '/tmp/x'",
		},
		"file": {
			"SELECT load_file('x')",
			"SELECT LOAD_FILE('x')",
			"SELECT `load_file`('x')",
			"SELECT load_file ('x')",
			"SELECT load_file/**/('x')",
			"SELECT/*!load_file*/('x')",
		},
		"global": {
			"SET GLOBAL sql_mode = ''",
			"SET @@global.sql_mode = ''",
			"SET @@GLOBAL.sql_mode = ''",
			"SET @@`global`.`sql_mode` := ''",
			"SET/**/GLOBAL/**/sql_mode=''",
			"SET @@global . sql_mode = ''",
		},
	}
	for name, texts := range groups {
		t.Run(name, func(t *testing.T) {
			want := describe(analyzer.Analyze([]byte(texts[0]), mysql8))
			if strings.Contains(want, "not parsed") {
				t.Fatal(want)
			}
			for _, text := range texts[1:] {
				got := describe(analyzer.Analyze([]byte(text), mysql8))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%.80q (-plain +disguised):\n%s", text, diff)
				}
			}
		})
	}
}

func TestWhatCannotBeReadIsNotParsed(t *testing.T) {
	manyNames := ""
	for i := range 5000 {
		manyNames += fmt.Sprintf("n%d,", i)
	}
	ascii := mysqltext.Options{}
	noVersion := mysqltext.Options{UTF8: true}
	for _, test := range []struct {
		name string
		text string
		opt  mysqltext.Options
		why  string
	}{
		{"NUL", "SELECT 1\x00; DROP TABLE t", mysql8, "token"},
		{"NUL in a comment", "SELECT 1 -- \x00\n", mysql8, "comment"},
		{"NUL in a comment", "SELECT /* \x00 */ 1", mysql8, "comment"},
		{"another encoding", "SELECT 'é'", ascii, "character set"},
		{"half a letter", "SELECT '\xbf\\' OR 1=1 -- '", ascii, "character set"},
		{"half a letter in a name", "SELECT `\xbf` FROM t", mysql8, "token"},
		{"introduced", "SELECT _sjis'a'", mysql8, "character set"},
		{"open string", "SELECT 'a", mysql8, "token"},
		{"open string, escaped end", "SELECT 'a\\'", mysql8, "token"},
		{"open name", "SELECT `a", mysql8, "token"},
		{"empty name", "SELECT ``", mysql8, "token"},
		{"open comment", "SELECT 1 /* ", mysql8, "comment"},
		{"open special comment", "SELECT 1 /*! ", mysql8, "comment"},
		{"special comment in another", "SELECT /*! 1 /*! 2 */ */", mysql8, "comment"},
		{"comment in a skipped one", "SELECT /*!99999 /* x */ 1 */", mysql8, "comment"},
		{"end inside a special comment", "/*! SELECT 1; DROP TABLE t */", mysql8, "comment"},
		{"version, and the server's is not known", "SELECT /*!50000 1 */", noVersion, "comment"},
		{"six digits", "SELECT /*!500001 */ 1", mysql8, "comment"},
		{"hint that sets", "SELECT /*+ SET_VAR(sql_mode='ANSI_QUOTES') */ \"a\"", mysql8, "comment"},
		{"hint that ends in a name", "SELECT /*+ QB_NAME(`*/ 1 -- `) */ ssn FROM t", mysql8, "comment"},
		{"quotes of dollars", "SELECT $$, a FROM t -- $$", mysql8, "token"},
		{"homoglyph", "DRОP TABLE t", mysql8, "no statement"},
		{"no-break space", "DROP\u00a0TABLE t", mysql8, "no statement"},
		{"too large a statement", "SELECT " + strings.Repeat("a,", 40_000) + "a", mysql8, "too large"},
		{"too many names", "SELECT " + manyNames + "a FROM t", mysql8, "too large"},
		{"too many relations", "LOCK TABLES " + manyNames + "t READ", mysql8, "too large"},
		{"too large a text", strings.Repeat(" ", 65<<20) + "SELECT 1", mysql8, "too large"},
		{"nested", "SELECT " + strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000), mysql8, "nested"},
		{"signs", "SELECT " + strings.Repeat("- ", 20_000) + "1", mysql8, "nested"},
		{"operators", "SELECT 1" + strings.Repeat("+1", 20_000), mysql8, "too large"},
		{"another reading behind", "SET sql_mode=''; SELECT 1", mysql8, "by themselves"},
		{"another reading behind a call", "CALL p(); SELECT 1", mysql8, "by themselves"},
		{"another reading behind SET NAMES", "SET NAMES gbk; SELECT 1", mysql8, "by themselves"},
		{"for one statement", "SET STATEMENT sql_mode='' FOR SELECT 1", mariadb, "by themselves"},
		{"the parser's own", "SPLIT TABLE t BETWEEN (0) AND (1) REGIONS 2", mysql8, "no statement"},
		{"the parser's own clause", "SELECT a FROM t TABLESAMPLE REGIONS()", mysql8, "parser"},
		{"half an escape", "SELECT @'a\\'b' FROM t", mysql8, "token"},
		{"nothing named", "SELECT @ a", mysql8, "token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := analyzer.Analyze([]byte(test.text), test.opt)
			if got.Parsed || len(got.Statements) > 0 || !strings.Contains(got.Why, test.why) {
				t.Errorf("got %q, %s want not parsed because of %q", got.Why, describe(got), test.why)
			}
		})
	}
}

// The same bytes are two texts, depending on sql_mode.
func TestModesDecideWhereAStringEnds(t *testing.T) {
	const text = `SELECT 'a\'; DROP TABLE t; -- '`
	plain := with(mysql8, func(o *mysqltext.Options) { o.NoBackslashEscapes = true })
	if got := analyzer.Analyze([]byte(text), mysql8); len(got.Statements) != 1 {
		t.Errorf("backslash escapes: got %s", describe(got))
	}
	if got := analyzer.Analyze([]byte(text), plain); len(got.Statements) != 2 || got.Statements[1].Kind != "DROP TABLE" {
		t.Errorf("no backslash escapes: got %s, want a SELECT and a DROP TABLE", describe(got))
	}
	const named = `SELECT "ssn", 'x' FROM "t"`
	ansi := with(mysql8, func(o *mysqltext.Options) { o.ANSIQuotes = true })
	if got := analyzer.Analyze([]byte(named), ansi); !got.Parsed || len(got.Statements[0].Relations) != 1 || got.Statements[0].Columns[0] != "ssn" {
		t.Errorf("ANSI_QUOTES: got %s", describe(got))
	}
	if got := analyzer.Analyze([]byte(named), mysql8); got.Parsed {
		t.Errorf("no ANSI_QUOTES: got %s", describe(got))
	}
}

func TestNamesOfRelationsFoldWhereTheServerDoes(t *testing.T) {
	folding := with(mysql8, func(o *mysqltext.Options) { o.LowerNames = true })
	const text = "SELECT C.SSN FROM Shop.Customers C, INFORMATION_SCHEMA.Tables"
	if got := analyzer.Analyze([]byte(text), folding).Statements[0].Relations; got[0] != "shop.customers" {
		t.Errorf("got %q", got)
	}
	got := analyzer.Analyze([]byte(text), mysql8).Statements[0]
	if diff := cmp.Diff([]string{"Shop.Customers", "information_schema.tables"}, got.Relations); diff != "" {
		t.Error(diff)
	}
}

// Texts that differ in literals only are one shape; where a literal is a name
// or a value that matters, they are not.
func TestShapesAreShared(t *testing.T) {
	shape := func(text string) [16]byte { return analyzer.Analyze([]byte(text), mysql8).Shape }
	for _, pair := range [][2]string{
		{"SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 2"},
		{"SELECT a FROM t WHERE b = 'x' AND c LIKE 'y'", "SELECT a FROM t WHERE b = 'it''s' AND c LIKE \"z\""},
		{"SELECT a FROM t WHERE b IN (1, 2)", "SELECT a FROM t WHERE b IN (1, 2, 3, 4)"},
		{"INSERT INTO t VALUES (1, 2)", "INSERT INTO t VALUES (3, 4), (5, 6)"},
	} {
		if shape(pair[0]) != shape(pair[1]) {
			t.Errorf("%q: two shapes", pair)
		}
	}
	for _, pair := range [][2]string{
		{"SELECT a 'x' FROM t", "SELECT a 'y' FROM t"},
		{"SELECT escape 'x' FROM t", "SELECT escape 'y' FROM t"},
		{"SET @a = 1", "SET @a = 2"},
		{"SELECT (1), (2) FROM t", "SELECT (1) FROM t"},
		{"SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = '1'"},
		{"SELECT COUNT(a) FROM t", "SELECT COUNT (a) FROM t"},
		{"SELECT t.a FROM t", "SELECT t .a FROM t"},
		{"PREPARE p FROM 'SELECT 1'", "PREPARE p FROM 'DROP TABLE t'"},
	} {
		if shape(pair[0]) == shape(pair[1]) {
			t.Errorf("%q: one shape", pair)
		}
	}
}

// With IGNORE_SPACE space may stand before the bracket of the server's own
// functions; a comment never may, and makes it a stored one's.
func TestIgnoreSpaceIgnoresNoComment(t *testing.T) {
	ignoring := with(mariadb, func(o *mysqltext.Options) { o.IgnoreSpace = true })
	for text, want := range map[string]bool{"SELECT count (a) FROM t": false, "SELECT count/**/(a) FROM t": true, "SELECT count /**/ (a) FROM t": true} {
		if got := analyzer.Analyze([]byte(text), ignoring); !got.Parsed || got.Statements[0].Opaque != want {
			t.Errorf("%s: got %s, want opaque %v", text, describe(got), want)
		}
	}
}
