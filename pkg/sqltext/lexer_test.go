package sqltext_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	pg_query "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// tricky are texts on which scanners differ.
var tricky = []string{
	"",
	" \t\n\r\f\v",
	"select 1",
	"SELECT'a'",
	"select 'it''s' 'x'",
	"select 'a'\n'b'",
	"select 'a' \t \n \r\n 'b'",
	"select 'a' -- c\n 'b'",
	"select 'a' -- c\r'b'",
	"select 'a' -- c",
	"select 'a'-- c\n-- d\n\n'b'",
	"select 'a' /* c */ \n 'b'",
	"select 'a'\n/* c */'b'",
	"select 'a'\n-'b'",
	"select 'a'\n--",
	"select E'a\\'b', e'\\\\', E'x''y'",
	"select E'a'\n'b\\'c'",
	"select 'a'\nE'b'",
	"select 'a\\', 'b'",
	"select U&'\\0061', u&\"\\0061\" , U&'d!0061' UESCAPE '!'",
	"select U & 'x', u&x, u&1",
	"select N'a', n'b''c', N 'x', nN'a'",
	"select b'01', B'1'\n'0', x'1F', X'', bb'1', xx'1'",
	"select b'''', x'1''2', b'1' '2', b'1'\n'''2'",
	"select $$a$$, $x$ $$ $y$ $x$, $x$a$x$",
	"select $a$ $b$a$ $a$",
	"select $a$$aa$$a$",
	"select $_1$x$_1$, $ä$x$ä$",
	"select a$b$c, a$$b$$c",
	"select $1, $23, $1+$2, $1$a$b$a$",
	"select $1a",
	"select $, $ 1",
	"select $a",
	"select $1x$ y $1x$",
	"select 1, 12, 1.5, .5, 5., 1e5, 1E+5, 1.5e-3, .5e1, 1.e2",
	"select 1..2, 1...2, 1.5.6, 1..5",
	"select 1_000, 1__0, 1_",
	"select 1_000.5_5, 1e1_0, 0_1",
	"select 0x1F, 0X_f, 0o17, 0b101, 0x, 0b2, 0o8, 0xg",
	"select 0b1_0, 0x1_, 0o1__1",
	"select 0o18", "select 0b12", "select 00x1", "select 0e1",
	"select 1a", "select 1e", "select 1e+", "select 1.5a", "select 1ea", "select 1x'a'",
	"select 2147483647, 2147483648, 9223372036854775808, 0x7fffffff, 0x80000000",
	"select 00000000000000000001, 0000000000002147483648, 99999999999999999999999999",
	"select a::int, a:=b, a=>b, a<=b, a>=b, a<>b, a!=b, a..b",
	"select a : : b, a ::: b, a:b",
	"select 1+-2, 1*-2, 1@-2, 1@--2\n, 1-+-2, 1<-2, 1|-2",
	"select 1 +/* c */ 2, 1 */* c */ 2, 1*/ 2",
	"select a->>-1, a->-b, a#>>'{}', a@>b, a?b, a?|b, a?&b, a@?b, a||-b",
	"select =-1, <>-1, >=-1, =>-1, +-+-+-1, *+, @+, %-, ^-",
	"select " + strings.Repeat("<", 63) + " 1",
	"select " + strings.Repeat("<", 64) + " 1",
	"select " + strings.Repeat("<", 64) + "- 1",
	"select /* a /* b */ c */ 1",
	"select /* a /* b */ 1",
	"select /*/ 1 */ 2",
	"select /**/ 1 /***/ /*/**/*/ 2",
	"select /* **/ 1", "select /*/*/*/ 1", "select /*/*/*/*/*/ 1",
	"select --\n1", "select ---1\n2", "select 1--", "--", "/*",
	"select 1 -- a\r select 2",
	`select "a", "a""b", "a'b", "A b"`,
	`select ""`, `select """"`, `select "`, `select "a`, `select "a""`,
	`select 'a`, `select '''`, `select ''''`, `select E'\`, `select E'\'`, "select E'\\\n'",
	`select E'\'' , 'x'`,
	"select é, ÄB, naïve, \u00a0x, \u3000y, “a”",
	"select аdmin",
	"select a;b;;",
	"select {", "select \\", "select a`b", "select `", "select ~!@#^&|`?+-*/%<>=", "select a\x01b",
	"select e'a', ee'a', E 'a', b 'a'",
	"select _a, a1, a$1, 1$", "select [1,2][1:2]",
	"select 'a'::text 'b'",
	"select x'1'\n'2' , U&'a'\n'b'",
	"select 5.e, 5.e1, 5.ee", "select 1.e+", "select .e1", "select ..1", "select a.1", "select a.b.1",
}

// kindOf gives the parser's token the name that our lexer has for it.
func kindOf(t *pg_query.ScanToken) string {
	switch t.GetToken() {
	case pg_query.Token_IDENT:
		return "word or quoted"
	case pg_query.Token_UIDENT:
		return "uword"
	case pg_query.Token_SCONST:
		return "string"
	case pg_query.Token_USCONST:
		return "ustring"
	case pg_query.Token_BCONST:
		return "bits"
	case pg_query.Token_XCONST:
		return "hex"
	case pg_query.Token_ICONST:
		return "integer"
	case pg_query.Token_FCONST:
		return "number"
	case pg_query.Token_PARAM:
		return "param"
	}
	if t.GetKeywordKind() != pg_query.KeywordKind_NO_KEYWORD {
		return "word"
	}
	return "operator"
}

// compareWithScanner fails the test where our lexer takes a text and
// PostgreSQL's scanner cuts it elsewhere. It returns whether both took it.
func compareWithScanner(t *testing.T, text string) bool {
	t.Helper()
	ours, ok := sqltext.Tokens([]byte(text), true)
	if !ok {
		return false
	}
	scan, err := pgquery.Scan(text)
	if err != nil {
		// The scanner also checks what is inside a literal. A text that only
		// it refuses is refused by the server too.
		return false
	}
	var theirs []sqltext.Token
	for _, token := range scan.GetTokens() {
		if c := token.GetToken(); c == pg_query.Token_SQL_COMMENT || c == pg_query.Token_C_COMMENT {
			continue
		}
		kind := kindOf(token)
		if kind == "word or quoted" {
			kind = "word"
			if text[token.GetStart()] == '"' {
				kind = "quoted"
			}
		}
		theirs = append(theirs, sqltext.Token{Kind: kind, Start: int(token.GetStart()), End: int(token.GetEnd())})
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("%q (-PostgreSQL +ours):\n%s", text, diff)
	}
	return true
}

func TestLexerCutsWherePostgreSQLDoes(t *testing.T) {
	compared := 0
	for _, text := range tricky {
		if compareWithScanner(t, text) {
			compared++
		}
	}
	if compared < len(tricky)/2 {
		t.Errorf("only %d of %d texts were taken by both", compared, len(tricky))
	}
}

func TestLexerRefusesWhatItCannotTell(t *testing.T) {
	for _, text := range []string{
		"select 'a", "select \"a", "select \"\"", "/*", "/* /* */", "select $a$ $b$",
		"select 1a", "select 0x", "select 1_", "select $1a", "select \\", "select {",
		"select a\x01b", "select 'a' -- c\n'b'", "select E'a\\",
		"select " + strings.Repeat("<", 64) + " 1",
	} {
		if tokens, ok := sqltext.Tokens([]byte(text), true); ok {
			t.Errorf("%q was taken: %v", text, tokens)
		}
	}
}

func TestBackslashEscapesWhenStringsDoNotConform(t *testing.T) {
	const text = `select 'a\', b' , 'c'`
	conforming, ok := sqltext.Tokens([]byte(text), true)
	if ok {
		t.Errorf("conforming: got %v, want the last quote to be unmatched", conforming)
	}
	escaping, ok := sqltext.Tokens([]byte(text), false)
	if !ok || len(escaping) != 4 {
		t.Errorf("not conforming: got %v", escaping)
	}
	if _, ok := sqltext.Tokens([]byte(`select U&'a'`), false); ok {
		t.Error("U&'' was taken, which PostgreSQL calls unsafe")
	}
}

// warm loads the scanner in each fuzzing process: the first text would
// otherwise be taken for one that hangs.
func warm(f *testing.F) {
	f.Helper()
	if _, err := pgquery.Scan(""); err != nil {
		f.Fatal(err)
	}
}

func FuzzLexerCutsWherePostgreSQLDoes(f *testing.F) {
	for _, text := range tricky {
		f.Add(text)
	}
	warm(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return
		}
		compareWithScanner(t, text)
	})
}

// disguises are put around every statement of the corpus.
var disguises = []struct{ before, after string }{
	{"", ""},
	{"/* a /* b */ 'c */ ", " -- '"},
	{"\t\r\n--'\n", "/*;*/;"},
	{"U&\"\\0061\" UESCAPE '!' , $q$ ' $q$ , E'\\'' , ", " , u&'d!0061' , \"a\"\"'\""},
	{"аdmin \u00a0“x” ", " é$a$"},
}

func TestLexerCutsTheCorpusWherePostgreSQLDoes(t *testing.T) {
	compared := 0
	texts, _ := readGolden(t)
	for _, path := range []string{"testdata/functions.sql", "testdata/operators.sql", "../protocol/postgres/testdata/leaks/postgres.sql"} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(append(texts, string(whole)), strings.Split(string(whole), "\n")...)
	}
	for _, text := range texts {
		for _, d := range disguises {
			disguised := d.before + text + d.after
			if utf8.ValidString(disguised) && len(disguised) < 1<<18 && compareWithScanner(t, disguised) {
				compared++
			}
		}
	}
	if compared < len(texts) {
		t.Errorf("only %d texts of %d in %d disguises were taken by both", compared, len(texts), len(disguises))
	}
}

// With standard_conforming_strings off a plain string is what E'…' is
// otherwise, which the scanner that we compare with always assumes.
func TestLexerCutsAsPostgreSQLDoesWhenStringsDoNotConform(t *testing.T) {
	compared := 0
	for _, text := range append(slices.Clone(tricky), `select 'a\'b', 'c\\', 'd'`, `select 'a\'; drop table t; --'`) {
		ours, ok := sqltext.Tokens([]byte(text), false)
		if !ok {
			continue
		}
		var marked strings.Builder
		from := 0
		for _, token := range ours {
			if token.Kind == "string" && text[token.Start] == '\'' && (token.Start == 0 || text[token.Start-1]|0x20 != 'n') {
				marked.WriteString(text[from:token.Start] + " E")
				from = token.Start
			}
		}
		marked.WriteString(text[from:])
		scan, err := pgquery.Scan(marked.String())
		if err != nil {
			continue
		}
		theirs := slices.DeleteFunc(scan.GetTokens(), func(s *pg_query.ScanToken) bool {
			return s.GetToken() == pg_query.Token_SQL_COMMENT || s.GetToken() == pg_query.Token_C_COMMENT
		})
		compared++
		if len(theirs) != len(ours) {
			t.Errorf("%q: PostgreSQL finds %d tokens, we %d", text, len(theirs), len(ours))
		}
	}
	if compared < len(tricky)/2 {
		t.Errorf("only %d texts were taken by both", compared)
	}
}
