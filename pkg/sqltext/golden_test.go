package sqltext_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

var update = flag.Bool("update", false, "rewrite testdata/statements.golden")

// analyzer is shared: a parser takes seconds to load.
var analyzer = sqltext.New()

// usual is what a session of a modern client has.
var usual = sqltext.Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true}

const goldenFile = "testdata/statements.golden"

// describe writes an analysis as the golden file has it: one line a statement,
// what is empty left out.
func describe(a *sqltext.Analysis) string {
	if !a.Parsed {
		return "  not parsed: " + a.Why + "\n"
	}
	var b strings.Builder
	for _, st := range a.Statements {
		indent := "  "
		if st.Nested {
			indent = "    "
		}
		fmt.Fprintf(&b, "%s%s, %s", indent, st.Kind, st.Class)
		for _, fact := range []struct {
			name  string
			holds bool
		}{{"read-only", st.ReadOnly}, {"opaque", st.Opaque}, {"where", st.HasWhere}, {"secret", st.Secret}} {
			if fact.holds {
				b.WriteString(", " + fact.name)
			}
		}
		for _, list := range []struct {
			name  string
			names []string
		}{
			{"relations", st.Relations},
			{"writes", st.Writes},
			{"columns", st.Columns},
			{"functions", st.Functions},
		} {
			if len(list.names) > 0 {
				fmt.Fprintf(&b, "; %s %s", list.name, strings.Join(list.names, " "))
			}
		}
		for _, e := range st.Effects {
			fmt.Fprintf(&b, "; %s", strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Name, " ", strings.Join(e.Values, ","))))
			if e.Local {
				b.WriteString(" (local)")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// readGolden returns the texts of the golden file, one a line, and what
// follows each, indented.
func readGolden(t testing.TB) (texts []string, want map[string]string) {
	t.Helper()
	file, err := os.Open(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	want = make(map[string]string)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "  ") {
			want[texts[len(texts)-1]] += line + "\n"
			continue
		}
		texts = append(texts, line)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return texts, want
}

func TestStatementsAreDescribed(t *testing.T) {
	texts, want := readGolden(t)
	var rewritten strings.Builder
	for _, text := range texts {
		got := describe(analyzer.Analyze([]byte(text), usual))
		rewritten.WriteString(text + "\n" + got)
		if !*update {
			if diff := cmp.Diff(want[text], got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
		}
	}
	if *update {
		if err := os.WriteFile(goldenFile, []byte(rewritten.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
