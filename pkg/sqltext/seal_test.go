package sqltext_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// shown seals a text so that the test sees what was sealed: in place of each
// value stands its number in values.
func shown(text string, opt sqltext.Options) (sealed string, values []string) {
	out := sqltext.Seal(nil, []byte(text), opt, func(dst, value []byte) []byte {
		values = append(values, string(value))
		return fmt.Appendf(dst, "[%d]", len(values))
	})
	return string(out), values
}

func TestLiteralsAndCommentsAreSealed(t *testing.T) {
	for _, test := range []struct{ text, sealed, values string }{
		{"", "", ""},
		{"SELECT id FROM customers", "SELECT id FROM customers", ""},
		{"SELECT 'a''b', 'c' FROM t", "SELECT [1], [2] FROM t", "'a''b'|c"},
		{"WHERE a = 12 AND b=-1.5e3", "WHERE a = [1] AND b=-[2]", "12|1.5e3"},
		{"SELECT 'x'::text, date '2001-02-03', 0x1F", "SELECT [1]::text, date [2], [3]", "x|2001-02-03|0x1F"},
		{`SELECT E'x', E'a\'b'`, "SELECT [1], [2]", `x|E'a\'b'`},
		{`SELECT U&'\0061' UESCAPE '!', U&"\0061"`, `SELECT [1] UESCAPE [2], U&"\0061"`, `U&'\0061'|!`},
		{"SELECT $$it's$$, $q$a$$b$q$, $1", "SELECT [1], [2], $1", "it's|a$$b"},
		{"SELECT N'x', b'01', X'1f'", "SELECT N[1], [2], [3]", "x|01|1f"},
		{"SELECT 'a'\n'b'", "SELECT [1]", "'a'\n'b'"},
		{"SELECT 1 -- who\n/* a /* b */ c */ , 2", "SELECT [1] [2]\n[3] , [4]", "1|-- who|/* a /* b */ c */|2"},
		{`SELECT "a'b" FROM "t--x"`, `SELECT "a'b" FROM "t--x"`, ""},
		{"SELECT 'a", "[1]", "SELECT 'a"},
		{"SELECT 1 /* a", "[2]", "1|SELECT 1 /* a"},
		{"SET app.password = hunter2", "SET app.password = [1]", "hunter2"},
		{`SET app.password TO "hunter2", b; SET x = on`, "SET app.password TO [1], [2]; SET x = on", `"hunter2"|b`},
		{"ALTER ROLE r SET app.secret = x", "ALTER ROLE r SET app.secret = [1]", "x"},
		{"SELECT 1 WHERE password = name", "SELECT [1] WHERE password = name", "1"},
	} {
		sealed, values := shown(test.text, usual)
		got := strings.Join(values, "|")
		if sealed != test.sealed || got != test.values {
			t.Errorf("%s\nsealed %s\nwant   %s\nvalues %s\nwant   %s", test.text, sealed, test.sealed, got, test.values)
		}
	}
}

func TestBackslashesAreReadAsTheServerDoes(t *testing.T) {
	text := `SELECT 'a\', name, '`
	opt := usual
	if sealed, _ := shown(text, opt); strings.Contains(sealed, "name") {
		t.Errorf("%s: a string has no end", sealed)
	}
	opt.StandardConformingStrings = false
	if sealed, _ := shown(text, opt); sealed != "SELECT [1]" {
		t.Errorf("got %s", sealed)
	}
}

func TestManyLiteralsCostBoundedSeals(t *testing.T) {
	text := "SELECT 1" + strings.Repeat(",1", 100_000) + ",'canary'"
	sealed, values := shown(text, usual)
	if len(values) > 5000 || strings.Contains(sealed, "canary") {
		t.Errorf("%d seals, %d bytes", len(values), len(sealed))
	}
}

// Whatever the text: no panic, and no literal that the lexer finds in it
// stands in the output outside of identifiers.
func FuzzSeal(f *testing.F) {
	texts, _ := readGolden(f)
	for _, text := range append(texts, tricky...) {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, conforming bool) {
		opt := usual
		opt.StandardConformingStrings = conforming
		out := sqltext.Seal(nil, []byte(text), opt, func(dst, _ []byte) []byte { return append(dst, 0x01) })
		tokens, ok := sqltext.Tokens([]byte(text), conforming)
		if !ok {
			if len(bytes.Trim(out, "\x01")) > 0 {
				t.Fatalf("kept of what cannot be read: %q", out)
			}
			return
		}
		var names strings.Builder // what may stay
		for _, token := range tokens {
			switch token.Kind {
			case "word", "quoted", "uword", "param", "operator", "national":
				names.WriteString(text[token.Start:token.End] + "\x00")
			}
		}
		for _, token := range tokens {
			switch token.Kind {
			case "string", "ustring", "bits", "hex", "integer", "number":
				literal := text[token.Start:token.End]
				if len(literal) >= 4 && bytes.Contains(out, []byte(literal)) && !strings.Contains(names.String(), literal) {
					t.Fatalf("%q survives in %q", literal, out)
				}
			}
		}
	})
}

func TestSecretsAreKnownByName(t *testing.T) {
	for text, want := range map[string]bool{
		"ALTER ROLE r PASSWORD 'x'":                                  true,
		"CREATE USER u ENCRYPTED PASSWORD 'x'":                       true,
		"ALTER ROLE r VALID UNTIL 'infinity'":                        false,
		"CREATE USER MAPPING FOR u SERVER s OPTIONS (password 'x')":  true,
		"ALTER SERVER s OPTIONS (ADD sslpassword 'x')":               true,
		"CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p":    true,
		"SET app.password = 'x'":                                     true,
		"SET search_path = 'x'":                                      false,
		"ALTER SYSTEM SET primary_conninfo = 'x'":                    true,
		"ALTER DATABASE d SET app.token = 'x'":                       true,
		"SELECT set_config('app.secret', 'x', false)":                true,
		"SELECT set_config('search_path', '', false)":                false,
		"SELECT pg_catalog.set_config($1, $2, false)":                true,
		"SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int)":     true,
		"SELECT crypt('x', gen_salt('bf'))":                          true,
		"DO $$BEGIN EXECUTE 'ALTER ROLE r PASSWORD ''x'''; END$$":    true,
		"DO $$BEGIN NULL; END$$":                                     false,
		"SELECT password FROM users WHERE id = 1":                    false,
		"INSERT INTO t SELECT set_config('a.passphrase', 'x', true)": true,
	} {
		analysis := analyzer.Analyze([]byte(text), usual)
		if !analysis.Parsed {
			t.Errorf("%s: not parsed", text)
			continue
		}
		if got := analysis.Statements[0].Secret; got != want {
			t.Errorf("%s: secret is %v", text, got)
		}
	}
}
