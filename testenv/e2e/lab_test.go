// Package e2e runs real programs as jobs in a lab: real kernel programs, real
// containers, a real PostgreSQL, the real agent, collector and command line.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/underlab"
)

// lab is the one lab of this package's tests. They run one after the other and
// leave it as they found it: up, with agent and collector running.
var lab struct {
	*underlab.Lab
	root, dir string
}

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == relayRole {
		fmt.Fprintln(os.Stderr, "relay:", relay(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	status, err := underLab(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		status = 1
	}
	os.Exit(status)
}

func underLab(m *testing.M) (status int, err error) {
	up, err := underlab.Up("../..", "e2e", "policy.yaml")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, up.Down()) }()
	lab.Lab, lab.root, lab.dir = up, up.Root, up.Dir
	return m.Run(), nil
}

// result is what a command printed and how it ended.
type result struct {
	out, errs string
	code      int
	took      time.Duration
}

func (r result) all() string { return r.out + r.errs }

// labCommand is a call of scripts/lab that is not started yet.
func labCommand(args ...string) *exec.Cmd { return labCommandFor(3*time.Minute, args...) }

// labCommandFor is labCommand for one that may take so long.
func labCommandFor(most time.Duration, args ...string) *exec.Cmd { return lab.Command(most, args...) }

func run(args ...string) result { return resultOf(labCommand(args...)) }

func resultOf(cmd *exec.Cmd) result {
	r := underlab.ResultOf(cmd)
	return result{out: r.Out, errs: r.Errs, code: r.Code, took: r.Took}
}

// psql runs one psql in a job, with a -c for each statement.
func psql(statements ...string) result {
	return run(append([]string{"job", "--"}, psqlArgs(statements...)...)...)
}

func psqlArgs(statements ...string) []string {
	args := []string{"psql", "--no-psqlrc", "-h", "pg.lab", "-U", "app", "-At", "shop"}
	for _, s := range statements {
		args = append(args, "-c", s)
	}
	return args
}

// admin asks the database itself, around the agent.
func admin(t *testing.T, query string) string {
	t.Helper()
	r := run("admin", "pg", "--", "psql", "--no-psqlrc", "-Atc", query)
	if r.code != 0 {
		t.Fatalf("admin %s: %s", query, r.all())
	}
	return strings.TrimSpace(r.out)
}

// ctl runs sluice as the approver, which must succeed.
func ctl(t *testing.T, args ...string) string {
	t.Helper()
	return lab.Ctl(t, args...)
}

// sessionView is what sluice sessions --json has of one.
type sessionView = underlab.Session

// newest waits for the newest session that began after a moment, has ended and
// satisfies want.
func newest(t *testing.T, after time.Time, want func(sessionView) bool) (found sessionView) {
	t.Helper()
	return lab.Newest(t, after, want)
}

// eventually waits until something is true, at most half a minute.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	within(t, 30*time.Second, what, is)
}

func within(t *testing.T, most time.Duration, what string, is func() bool) {
	t.Helper()
	underlab.Within(t, most, what, is)
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
}

func lacks(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q must not be in:\n%s", secret, text)
		}
	}
}
