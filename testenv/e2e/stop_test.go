package e2e

import (
	"encoding/json"
	"testing"
	"time"
)

func TestKilledSessionEndsAtOnceAndSaysSo(t *testing.T) {
	began := time.Now()
	said := &transcript{}
	job := labCommand(append([]string{"job", "--"}, psqlArgs("SELECT 'begun'", "SELECT pg_sleep(60)")...)...)
	job.Stdout, job.Stderr = said, said
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	var running sessionView
	eventually(t, "the session is at the collector", func() bool {
		running = lastSession(t)
		return running.Started.After(began) && running.Operations >= 3
	})
	ordered := time.Now()
	ctl(t, "kill", running.ID, "--reason", "it digs")
	if err := job.Wait(); err == nil {
		t.Errorf("the job ended well: %s", said)
	}
	contains(t, said.String(), "FATAL", "approver ordered kill: it digs")
	if took := time.Since(ordered); took > 20*time.Second { // the sleep would take a minute
		t.Errorf("it took %v", took)
	}
	eventually(t, "the end of the session is recorded", func() bool {
		s := lastSession(t)
		return s.ID == running.ID && s.Ended != nil
	})
}

// lastSession is the newest session that the collector knows.
func lastSession(t *testing.T) sessionView {
	t.Helper()
	var got []sessionView
	if err := json.Unmarshal([]byte(ctl(t, "sessions", "--json", "--limit", "1")), &got); err != nil || len(got) != 1 {
		t.Fatalf("%v, %d sessions", err, len(got))
	}
	return got[0]
}

func TestQuarantinedRunIsRefusedUntilItIsLifted(t *testing.T) {
	query := func() result {
		args := append([]string{"job", "--env", "GITHUB_REPOSITORY=acme/rogue", "--env", "GITHUB_RUN_ID=66", "--"}, psqlArgs("SELECT 'served'")...)
		return run(args...)
	}
	contains(t, query().out, "served")
	var order struct{ ID string }
	if err := json.Unmarshal([]byte(ctl(t, "quarantine", "acme/rogue/66", "--reason", "it digs", "--json")), &order); err != nil {
		t.Fatal(err)
	}
	refused := query()
	if refused.code == 0 {
		t.Error("a run in quarantine is served")
	}
	contains(t, refused.all(), "FATAL", "approver ordered quarantine: it digs")
	if other := psql("SELECT 'served'"); other.code != 0 {
		t.Errorf("another job is not served: %s", other.all())
	}
	contains(t, ctl(t, "quarantine"), "acme/rogue/66", "it digs")
	ctl(t, "quarantine", "--lift", order.ID)
	contains(t, query().out, "served")
}
