package postgres_test

import (
	"strings"
	"testing"
)

// TestRoleIsNotSetAtStartUpPastTheRules: the server takes a role as a start-up
// parameter, where no rule on statements sees it.
func TestRoleIsNotSetAtStartUpPastTheRules(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DO $$ BEGIN CREATE ROLE clerk; EXCEPTION WHEN duplicate_object THEN NULL; END $$", "GRANT clerk TO app")
	free, ruled := startProxy(t, s, proxyOptions{}), startProxy(t, s, proxyOptions{sqlRules: true})
	for _, options := range []string{"-c role=clerk", "-crole=clerk", "--role=clerk", "-c Role=clerk", `--r\ole=clerk`, "-c session_authorization=app", "--session-authorization=app"} {
		t.Setenv("PGOPTIONS", options)
		out, errs, code := ruled.psql(t, "-Atc", "SELECT current_user")
		if code == 0 || !strings.Contains(errs, "not at start-up") {
			t.Errorf("%s: %q, %q", options, out, errs)
		}
		if out, errs, _ := free.psql(t, "-Atc", "SELECT current_user"); strings.Contains(strings.ToLower(options), "ole") && out != "clerk\n" {
			t.Errorf("%s sets no role: %q, %q", options, out, errs)
		}
	}
	t.Setenv("PGOPTIONS", "-c statement_timeout=9s -c search_path=public")
	if out, errs, code := ruled.psql(t, "-Atc", "SHOW statement_timeout"); code != 0 || out != "9s\n" {
		t.Errorf("another option: %q, %q", out, errs)
	}
}
