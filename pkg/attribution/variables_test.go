package attribution

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestVariablesAreThoseThatWereAskedFor(t *testing.T) {
	environ := []byte(strings.Join([]string{
		"CI_JOB_TOKEN=first", "CI_JOB_TOKEN=second", "XCI_JOB_TOKEN=x", "CI_JOB_TOKENX=x", "PGPASSWORD=hunter2", "BARE",
		"LONG=" + strings.Repeat("a", maxVariable+1), "LONG=short", "RAW=\xff\x1b",
	}, "\x00") + "\x00")
	got := parseVariables(environ, []string{"CI_JOB_TOKEN", "LONG", "RAW", "BARE"})
	for name, want := range map[string]string{
		"CI_JOB_TOKEN": "first", "PGPASSWORD": "", "LONG": "", "RAW": "\xff\x1b", "BARE": "", "": "",
	} {
		if value := got.Value(name); value != want {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	if none := parseVariables(environ, nil); none.Value("CI_JOB_TOKEN") != "" {
		t.Error("a variable that nobody asked for is there")
	}
}

func TestNothingThatPrintsShowsVariables(t *testing.T) {
	variables := parseVariables([]byte("CI_JOB_TOKEN=hunter2\x00"), []string{"CI_JOB_TOKEN"})
	encoded, _ := json.Marshal(map[string]any{"v": fmt.Sprint(variables)})
	for _, shown := range []string{
		fmt.Sprintf("%v %+v", any(variables), any(variables)), fmt.Sprintf("%#v", struct{ V Variables }{variables}), string(encoded),
	} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("%s", shown)
		}
	}
}

// TestVariablesAreOfTheProcessThatWasOpened reads them as they lie in the
// process, and not what it claims in words that are kept.
func TestVariablesAreOfTheProcessThatWasOpened(t *testing.T) {
	r := New(Local(Config{}), zap.NewNop())
	got := <-r.readClaims(1, opened(t), []string{"PATH"})
	if want := os.Getenv("PATH"); got.variables.Value("PATH") != want {
		t.Errorf("PATH is %q, want %q", got.variables.Value("PATH"), want)
	}
	if _, kept := got.claims.Env["PATH"]; kept {
		t.Error("a variable that was asked for is among the claims")
	}
}
