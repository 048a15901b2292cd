// Package e2e runs real programs as jobs in a lab: real kernel programs, real
// containers, a real PostgreSQL, the real agent, collector and command line.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lab is the one lab of this package's tests. They run one after the other and
// leave it as they found it: up, with agent and collector running.
var lab struct{ root, dir string }

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
	if lab.root, err = filepath.Abs("../.."); err != nil {
		return 0, err
	}
	if lab.dir, err = os.MkdirTemp("", "sluice-e2e-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(lab.dir)) }()
	policy, err := filepath.Abs("policy.yaml")
	if err != nil {
		return 0, err
	}
	defer func() {
		if down := run("down"); down.code != 0 {
			err = errors.Join(err, fmt.Errorf("lab down: %s", down.all()))
		}
	}()
	// Beside other work the programs alone may take minutes to build.
	if up := resultOf(labCommandFor(8*time.Minute, "up", "--policy", policy)); up.code != 0 {
		return 0, fmt.Errorf("lab up: %s", up.all())
	}
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
func labCommandFor(most time.Duration, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	cmd := exec.CommandContext(ctx, filepath.Join(lab.root, "scripts/lab"), args...)
	cmd.Env = append(os.Environ(), "SLUICE_LAB_DIR="+lab.dir)
	cmd.Dir = lab.root
	context.AfterFunc(ctx, cancel)
	return cmd
}

func run(args ...string) result { return resultOf(labCommand(args...)) }

func resultOf(cmd *exec.Cmd) result {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	r := result{out: out.String(), errs: errs.String(), took: time.Since(began)}
	if err != nil {
		r.code = cmd.ProcessState.ExitCode()
		r.errs += "\n" + err.Error()
	}
	return r
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
	r := run(append([]string{"ctl"}, args...)...)
	if r.code != 0 {
		t.Fatalf("sluice %s: %s", strings.Join(args, " "), r.all())
	}
	return r.out
}

// sessionView is one element of sluice sessions --json, which scripts of other people rely on.
type sessionView struct {
	ID         string         `json:"id"`
	Resource   string         `json:"resource"`
	Protocol   string         `json:"protocol"`
	Parent     string         `json:"parent"`
	Started    time.Time      `json:"started"`
	Ended      *time.Time     `json:"ended"`
	Assurance  string         `json:"assurance"`
	Kernel     map[string]any `json:"kernel"`
	Orch       map[string]any `json:"orch"`
	Verified   map[string]any `json:"verified"`
	Claimed    map[string]any `json:"claimed"`
	Agent      map[string]any `json:"agent"`
	Operations int            `json:"operations"`
	Denied     int            `json:"denied"`
	Held       int            `json:"held"`
	Masked     int            `json:"masked"`
}

// newest waits for the newest session that began after a moment, has ended and
// satisfies want: records reach the collector in batches, a moment after the
// job ended, and until then the newest session is another test's.
func newest(t *testing.T, after time.Time, want func(sessionView) bool) (found sessionView) {
	t.Helper()
	eventually(t, "the session is at the collector", func() bool {
		var got []sessionView
		if err := json.Unmarshal([]byte(ctl(t, "sessions", "--json", "--limit", "5")), &got); err != nil {
			t.Fatal(err)
		}
		for _, s := range got {
			if s.Started.After(after) && s.Ended != nil && want(s) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// eventually waits until something is true, at most half a minute.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	within(t, 30*time.Second, what, is)
}

func within(t *testing.T, most time.Duration, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(most)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		if is() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", most, what)
		}
	}
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
