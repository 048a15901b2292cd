package mysqltext_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mysqltext"
)

// Whatever the text: no panic, an answer, nothing unparsed that has statements,
// nothing read-only that is opaque or writes, the same answer from the cache
// and from an analyzer that knows nothing, and behind another statement the
// same statements.
func FuzzAnalyze(f *testing.F) {
	for _, name := range []string{"testdata/mysql.golden", "testdata/mariadb.golden"} {
		texts, _ := readGolden(f, name)
		for i, text := range texts {
			f.Add(text, uint8(i))
		}
	}
	for _, piece := range pieces {
		f.Add("SELECT "+piece, uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, modes uint8) {
		if len(text) > 4096 {
			return
		}
		opt := mysqltext.Options{
			MariaDB: modes&1 != 0, UTF8: modes&2 != 0, ANSIQuotes: modes&4 != 0, NoBackslashEscapes: modes&8 != 0,
			PipesAsConcat: modes&16 != 0, IgnoreSpace: modes&32 != 0, LowerNames: modes&64 != 0, Version: 100000,
		}
		got := analyzer.Analyze([]byte(text), opt)
		if !got.Parsed && (got.Why == "" || len(got.Statements) > 0) {
			t.Fatalf("not parsed: %+v", got)
		}
		for _, st := range got.Statements {
			if st.ReadOnly && (st.Opaque || len(st.Writes) > 0) || st.Kind == "" || st.Class == "" {
				t.Errorf("%+v", st)
			}
		}
		same := cmpopts.IgnoreUnexported(lineage.Output{})
		if diff := cmp.Diff(got, analyzer.Analyze([]byte(text), opt), same); diff != "" {
			t.Errorf("asked again (-first +second):\n%s", diff)
		}
		if diff := cmp.Diff(got, mysqltext.New().Analyze([]byte(text), opt), same); diff != "" {
			t.Errorf("asked anew (-first +second):\n%s", diff)
		}
		behind := analyzer.Analyze([]byte("SELECT 1; "+text), opt)
		if behind.Parsed != got.Parsed && !strings.Contains(behind.Why+got.Why, "large") {
			t.Fatalf("behind a statement: parsed %v, alone %v", behind.Parsed, got.Parsed)
		}
		if behind.Parsed {
			if diff := cmp.Diff(got.Statements, behind.Statements[1:], same, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("behind a statement (-alone +behind):\n%s", diff)
			}
		}
	})
}
