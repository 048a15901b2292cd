package sqltext_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// Whatever the text: no panic, an answer, nothing unparsed that has statements,
// nothing read-only that is opaque or writes, the parser still there, and the
// same answer from the cache.
func FuzzAnalyze(f *testing.F) {
	texts, _ := readGolden(f)
	for _, text := range texts {
		f.Add(text, true)
	}
	for _, text := range tricky {
		f.Add(text, false)
	}
	warm(f)
	f.Fuzz(func(t *testing.T, text string, conforming bool) {
		if len(text) > 4096 {
			return
		}
		opt := usual
		opt.StandardConformingStrings = conforming
		got := analyzer.Analyze([]byte(text), opt)
		if !got.Parsed && (got.Why == "" || len(got.Statements) > 0) {
			t.Fatalf("not parsed: %+v", got)
		}
		for _, st := range got.Statements {
			if st.ReadOnly && (st.Opaque || len(st.Writes) > 0) {
				t.Errorf("read-only: %+v", st)
			}
		}
		again := analyzer.Analyze([]byte(text), opt)
		if diff := cmp.Diff(got, again, cmpopts.IgnoreUnexported(lineage.Output{})); diff != "" {
			t.Errorf("asked again (-first +second):\n%s", diff)
		}
		if alive := sqltext.AnalyzeAlone(analyzer, "SELECT 1"); !alive.Parsed {
			t.Fatalf("the parser is lost: %s", alive.Why)
		}
	})
}
