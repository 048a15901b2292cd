package mysqltext_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mysqltext"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

var analyzer = mysqltext.New()

// The servers that the golden files are about.
var (
	mysql8  = mysqltext.Options{UTF8: true, Version: 80036}
	mariadb = mysqltext.Options{UTF8: true, MariaDB: true, Version: 101119}
)

// describe writes an analysis as the golden files have it: one line a
// statement, what is empty left out.
func describe(a *mysqltext.Analysis) string {
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
		}{{"read-only", st.ReadOnly}, {"opaque", st.Opaque}, {"hides", st.Hides}, {"where", st.HasWhere}, {"secret", st.Secret}} {
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
			{"calls", st.Calls},
			{"aliases", st.Aliases},
		} {
			if len(list.names) > 0 {
				fmt.Fprintf(&b, "; %s %s", list.name, strings.Join(list.names, " "))
			}
		}
		for _, e := range st.Effects {
			fmt.Fprintf(&b, "; %s", strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Name, " ", strings.Join(e.Values, ","))))
		}
		if st.Runs != "" {
			b.WriteString("; runs " + st.Runs)
		}
		describeLineage(&b, st.Lineage)
		b.WriteByte('\n')
	}
	return b.String()
}

func describeLineage(b *strings.Builder, l *lineage.Trace) {
	if l == nil {
		return
	}
	for _, o := range l.Outputs {
		fmt.Fprintf(b, "; -> %s", describeOutput(o))
	}
	for _, w := range l.Written {
		fmt.Fprintf(b, "; %s.%s <- %s", w.Relation, w.Column, describeOutput(w.Output))
	}
}

func describeOutput(o lineage.Output) string {
	s := o.Name
	if o.Star {
		s += "*"
	}
	if o.Direct {
		s += "="
	}
	s += "("
	for i, source := range o.Sources {
		if i > 0 {
			s += " "
		}
		s += source.Relation + "." + source.Column
	}
	if o.Unknown {
		s += " ?"
	}
	return s + ")"
}

// readGolden returns the texts of a golden file, one a line, and what follows
// each, indented.
func readGolden(t testing.TB, name string) (texts []string, want map[string]string) {
	t.Helper()
	file, err := os.Open(name)
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
	for name, opt := range map[string]mysqltext.Options{"testdata/mysql.golden": mysql8, "testdata/mariadb.golden": mariadb} {
		texts, want := readGolden(t, name)
		var rewritten strings.Builder
		for _, text := range texts {
			got := describe(analyzer.Analyze([]byte(text), opt))
			rewritten.WriteString(text + "\n" + got)
			if !*update {
				if diff := cmp.Diff(want[text], got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", text, diff)
				}
			}
		}
		if *update {
			if err := os.WriteFile(name, []byte(rewritten.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
