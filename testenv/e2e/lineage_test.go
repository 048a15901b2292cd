package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCodingAgentIsKnownByWhatItExecuted has a job run a program named claude,
// which clears its environment and leaves its process tree before it connects.
func TestCodingAgentIsKnownByWhatItExecuted(t *testing.T) {
	const refused = "LISTEN orders"
	if r := psql(refused); r.code != 0 {
		t.Fatalf("the rule is not for everybody: %s", r.all())
	}
	dir := t.TempDir()
	claude := filepath.Join(dir, "claude")
	said := filepath.Join(dir, "said")
	for path, text := range map[string]string{
		said:   "",
		claude: "#!/bin/sh\nenv -i PGPASSWORD=\"$PGPASSWORD\" PATH=\"$PATH\" setsid sh -c '(\"$0\" \"$@\" >" + said + " 2>&1; echo ended >>" + said + ") &' \"$@\"\nwhile ! grep -q ended " + said + "; do sleep 0.1; done\ncat " + said + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r := run("job", "--", "bash", "-c", claude+` "$@"; true`, "job", "psql", "--no-psqlrc", "-h", "pg.lab", "-U", "app", "-Atc", refused, "shop")
	contains(t, r.all(), "That is not for a coding agent.")
	s := newest(t, began, func(s sessionView) bool { return s.Denied > 0 })
	if s.Agent["kind"] != "ai" || s.Agent["product"] != "claude-code" {
		t.Errorf("agent is %v", s.Agent)
	}
	if env, _ := s.Claimed["env"].(map[string]any); len(env) > 0 {
		t.Errorf("the environment was not cleared: %v", env)
	}
	if s.Kernel["lineage_whole"] != true {
		t.Errorf("kernel facts are %v", s.Kernel)
	}
	shown := ctl(t, "show", s.ID)
	contains(t, shown, claude, "kernel.exec "+claude)
	for line := range strings.Lines(shown) {
		if strings.HasPrefix(line, "lineage ") {
			t.Log(strings.TrimSpace(line))
			contains(t, line, " → "+claude+" → ", "psql")
		}
	}
}
