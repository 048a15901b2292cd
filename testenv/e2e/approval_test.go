package e2e

import (
	"bytes"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// transcript collects what a running job prints.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

var (
	approvalNumber = regexp.MustCompile(`NOTICE:.*approval #?(\d+)`)
	withdrawn      = regexp.MustCompile(`"state":\s*"withdrawn"`)
)

// held starts a job whose statement is held, and returns when psql has shown
// the approval's number.
func held(t *testing.T, statement string) (job *exec.Cmd, said *transcript, number string) {
	t.Helper()
	return heldJob(t, psqlArgs(statement))
}

// heldJob is held for any command, in a job with options.
func heldJob(t *testing.T, command []string, options ...string) (job *exec.Cmd, said *transcript, number string) {
	t.Helper()
	said = &transcript{}
	job = labCommand(slices.Concat([]string{"job"}, options, []string{"--"}, command)...)
	job.Stdout, job.Stderr = said, said
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the waiting NOTICE", func() bool {
		found := approvalNumber.FindStringSubmatch(said.String())
		if found != nil {
			number = found[1]
		}
		return found != nil
	})
	return job, said, number
}

func hasColumn(t *testing.T, name string) bool {
	t.Helper()
	return admin(t, "SELECT count(*) FROM information_schema.columns WHERE column_name = '"+name+"'") == "1"
}

func TestHeldStatementRunsOnceApproved(t *testing.T) {
	began := time.Now()
	job, said, number := held(t, "ALTER TABLE orders ADD COLUMN approved_column text")
	if hasColumn(t, "approved_column") {
		t.Fatal("it ran before anybody said yes")
	}
	contains(t, ctl(t, "approvals", "show", number), "ALTER TABLE orders ADD COLUMN approved_column text", "schema-changes-need-a-person")
	ctl(t, "approvals", "approve", number)
	if err := job.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if !hasColumn(t, "approved_column") {
		t.Error("it was approved and did not run")
	}
	s := newest(t, began, func(s sessionView) bool { return s.Held == 1 })
	contains(t, ctl(t, "show", s.ID), "schema-changes-need-a-person", "approver")
	if again := run("ctl", "approvals", "approve", number); again.code == 0 {
		t.Error("a settled approval took another vote")
	}
}

func TestDeniedApprovalSaysWhoAndWhy(t *testing.T) {
	job, said, number := held(t, "ALTER TABLE orders ADD COLUMN denied_column text")
	ctl(t, "approvals", "deny", number, "--reason", "Not on a Friday")
	if err := job.Wait(); err == nil {
		t.Error("psql ended well")
	}
	contains(t, said.String(), "ERROR:", "Not on a Friday", "approver")
	if hasColumn(t, "denied_column") {
		t.Error("it ran although it was denied")
	}
}

func TestHeldStatementTimesOut(t *testing.T) {
	job, said, _ := held(t, "CREATE INDEX timed_out ON orders (item)")
	if err := job.Wait(); err == nil {
		t.Error("psql ended well")
	}
	contains(t, said.String(), "ERROR:", "indexes-need-a-quick-person")
	if got := admin(t, "SELECT to_regclass('public.timed_out')"); got != "" {
		t.Error("it ran although nobody approved")
	}
}

func TestOneVoteIsNotTwo(t *testing.T) {
	job, said, number := held(t, "CREATE VIEW half_approved AS SELECT 1")
	ctl(t, "approvals", "approve", number)
	run("ctl", "approvals", "approve", number) // the same person again
	if err := job.Wait(); err == nil {
		t.Errorf("one person was enough: %s", said)
	}
	if got := admin(t, "SELECT to_regclass('public.half_approved')"); got != "" {
		t.Error("it ran with one of two votes")
	}
}

func TestClientWithdrawsAHold(t *testing.T) {
	r := run("job", "--", "sh", "-c", `timeout -s INT 3 psql -h pg.lab -U app -c "ALTER TABLE orders ADD COLUMN withdrawn_column text" shop`)
	contains(t, r.all(), "NOTICE:", "ERROR:")
	number := approvalNumber.FindStringSubmatch(r.all())
	if number == nil {
		t.Fatalf("no number in: %s", r.all())
	}
	eventually(t, "the approval is withdrawn", func() bool {
		return withdrawn.MatchString(ctl(t, "approvals", "show", number[1], "--json"))
	})
	if late := run("ctl", "approvals", "approve", number[1]); late.code == 0 {
		t.Error("a withdrawn approval took a vote")
	}
	if hasColumn(t, "withdrawn_column") {
		t.Error("it ran although the client had withdrawn it")
	}
}
