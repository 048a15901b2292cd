package sqltext_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

func TestKnownShapeAllocatesNothing(t *testing.T) {
	text := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 12345")
	analyzer.Analyze(text, usual)
	if n := testing.AllocsPerRun(100, func() { analyzer.Analyze(text, usual) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTextsOfOneShapeShareTheirAnalysis(t *testing.T) {
	first := analyzer.Analyze([]byte("SELECT a FROM t WHERE b = 1 AND c = 'x'"), usual)
	second := analyzer.Analyze([]byte("SELECT a FROM t WHERE b=2\n AND c = $$y; DROP TABLE t$$ -- z"), usual)
	if first != second {
		t.Errorf("got two analyses: %+v and %+v", first, second)
	}
}

func TestTextsWhoseMeaningLiesInALiteralDoNotShare(t *testing.T) {
	for _, texts := range [][2]string{
		{"DO $$BEGIN PERFORM 1; END$$", "DO $$BEGIN DROP TABLE t; END$$"},
		{"SET work_mem = 1", "SET work_mem = 2"},
		{"SELECT set_config('a', 'b', true)", "SELECT set_config('role', 'admin', false)"},
		{"SELECT my_function('a')", "SELECT my_function('b')"},
		{"SELECT a === 'a' FROM t", "SELECT a === 'b' FROM t"},
		{"COPY t FROM '/a'", "COPY t FROM '/b'"},
		{"EXECUTE p(1)", "EXECUTE p(2)"},
		{"CALL p(1)", "CALL p(2)"},
		{`SELECT U&"!0061" UESCAPE '!' FROM t`, `SELECT U&"!0061" UESCAPE '#' FROM t`},
	} {
		first := analyzer.Analyze([]byte(texts[0]), usual)
		if second := analyzer.Analyze([]byte(texts[1]), usual); first == second {
			t.Errorf("%s and %s share %+v", texts[0], texts[1], first)
		}
		if again := analyzer.Analyze([]byte(texts[0]), usual); again != first {
			t.Errorf("%s is not remembered", texts[0])
		}
	}
}

func TestOptionsDoNotShare(t *testing.T) {
	text := []byte("SELECT lower(a) FROM t")
	vouched := analyzer.Analyze(text, usual)
	opt := usual
	opt.BuiltinNames = false
	if unvouched := analyzer.Analyze(text, opt); unvouched.Statements[0].ReadOnly || !vouched.Statements[0].ReadOnly {
		t.Errorf("vouched %+v, not vouched %+v", vouched, unvouched)
	}
}

// mutate replaces each string and number of text by another.
func mutate(text string) string {
	tokens, _ := sqltext.Tokens([]byte(text), true)
	var b strings.Builder
	last := 0
	for _, token := range tokens {
		other := text[token.Start:token.End]
		switch token.Kind {
		case "string":
			other = "'; DROP TABLE mutated; --'"
		case "integer":
			other = "77"
		case "number":
			other = "7.5"
		case "bits":
			other = "b'11'"
		case "hex":
			other = "x'AB'"
		}
		b.WriteString(text[last:token.Start] + other)
		last = token.End
	}
	return b.String() + text[last:]
}

// What is shared by shape may not depend on a literal. For each statement of
// the golden file, the analysis that is served for other literals must be what
// the parser says of them.
func TestSharedAnalysesDoNotDependOnLiterals(t *testing.T) {
	texts, _ := readGolden(t)
	mutated := 0
	for _, text := range texts {
		other := mutate(text)
		if other == text {
			continue
		}
		analyzer.Analyze([]byte(text), usual)
		served := analyzer.Analyze([]byte(other), usual)
		fresh := sqltext.AnalyzeAlone(analyzer, other)
		if !fresh.Parsed {
			continue // the server refuses it too
		}
		mutated++
		if diff := cmp.Diff(describe(fresh), describe(served)); diff != "" {
			t.Errorf("%s after %s (-fresh +served):\n%s", other, text, diff)
		}
	}
	if mutated < 40 {
		t.Errorf("only %d statements were varied", mutated)
	}
}

func TestAnalyzeIsSafeForConcurrentUse(t *testing.T) {
	texts, want := readGolden(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, text := range texts {
				if got := describe(analyzer.Analyze([]byte(text), usual)); got != want[text] {
					t.Errorf("%s: got %s", text, got)
				}
			}
		})
	}
	wg.Wait()
}
