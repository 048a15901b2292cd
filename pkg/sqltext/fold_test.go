package sqltext_test

import (
	"strings"
	"testing"
)

// TestNamesThatTheServerFoldsAreNotRead: in LATIN1 the server reads ÜBER as über,
// and cuts a name of 40 umlauts nowhere.
func TestNamesThatTheServerFoldsAreNotRead(t *testing.T) {
	folds := usual
	folds.Folds = true
	long := strings.Repeat("ü", 32)
	for _, text := range []string{
		"DROP TABLE ÜBER", "SELECT Äge FROM t", `SELECT "` + long + `" FROM t`, `SELECT U&"\00dcber" FROM t`, "SELECT 1 AS é", "DROP TABLE t; DROP TABLE b.ÜBER",
	} {
		if got := analyzer.Analyze([]byte(text), folds); got.Parsed || !strings.Contains(got.Why, "name") {
			t.Errorf("%s: %+v", text, got)
		}
		if got := analyzer.Analyze([]byte(text), usual); !got.Parsed {
			t.Errorf("%s in UTF-8: %+v", text, got)
		}
	}
	for _, text := range []string{`DROP TABLE "über"`, "SELECT 'é', E'é', $$é$$, $é$x$é$ FROM t -- é", `SELECT "` + strings.Repeat("x", 80) + `"`} {
		if got := analyzer.Analyze([]byte(text), folds); !got.Parsed {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
