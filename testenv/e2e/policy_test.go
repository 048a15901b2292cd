package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPublishedPolicyHoldsForTheNextStatementOfAnOpenSession publishes rules,
// then masks, kills the agent in between, and goes back to the node's file.
func TestPublishedPolicyHoldsForTheNextStatementOfAnOpenSession(t *testing.T) {
	own, err := os.ReadFile(filepath.Join(lab.dir, "agent", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := strings.Replace(string(own), "\nrules:\n", "\nrules:\n    - {name: no-notices, resources: [shop-db], when: 'op.sql.statements.exists(s, s.kind == \"NOTIFY\")', effect: deny}\n", 1)
	hiding := strings.Replace(quiet, "- public.customers.ssn\n", "- public.customers.ssn\n        - public.customers.name\n", 1)
	if quiet == string(own) || hiding == quiet {
		t.Fatal("the lab's policy has no place for a rule or a mask")
	}
	publish := func(text string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ctl(t, "policy", "publish", file, "--agents", "*")
	}
	defer ctl(t, "policy", "rollback", "--own-file", "--agents", "*")

	contains(t, psql("SELECT 'warm'").out, "warm")
	eventually(t, "the collector knows a session", func() bool { return strings.Contains(ctl(t, "sessions"), "shop-db") })
	if r := during(t, func() { publish(quiet) }, "NOTIFY before", "SELECT pg_sleep(5)", "NOTIFY after"); r.code == 0 || !strings.Contains(r.all(), "no-notices") || strings.Contains(r.all(), "FATAL") {
		t.Errorf("the next statement of the same session: %s", r.all())
	}
	if r := run("kill", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	if r := run("start", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	if r := psql("NOTIFY again"); r.code == 0 || !strings.Contains(r.all(), "no-notices") {
		t.Errorf("after the agent was killed: %s", r.all())
	}
	if r := during(t, func() { publish(hiding) }, "SELECT name FROM customers LIMIT 1", "SELECT pg_sleep(5)"); !strings.Contains(r.all(), "the policy has changed") {
		t.Errorf("a session with the old masks goes on: %s", r.all())
	}
	contains(t, psql("SELECT name FROM customers LIMIT 1").out, "[redacted]")

	publish(strings.Replace(quiet, "pg.lab", "elsewhere.lab", 1))
	eventually(t, "a policy with other resources is refused, loudly", func() bool {
		return strings.Contains(ctl(t, "findings"), "policy-refused")
	})
	contains(t, psql("SELECT name FROM customers LIMIT 1").out, "[redacted]")

	ctl(t, "policy", "rollback", "--own-file", "--agents", "*")
	eventually(t, "the node's own file holds again", func() bool { return psql("NOTIFY again").code == 0 })
}

// during runs statements as one session and does something while the session
// sleeps.
func during(t *testing.T, do func(), statements ...string) result {
	t.Helper()
	began := time.Now()
	ended := make(chan result, 1)
	go func() { ended <- psql(statements...) }()
	eventually(t, "the session is at the collector", func() bool {
		s := lastSession(t)
		return s.Started.After(began) && s.Operations >= 3
	})
	do()
	return <-ended
}
