// Package underlab is how tests use a lab: they call scripts/lab, as a person
// would, and ask the collector what it knows.
package underlab

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

// Lab is one that is up.
type Lab struct {
	Root string // of the repository
	Dir  string // where the lab is
}

// Up builds and starts a lab with a policy. root is the repository's; name is in
// the name of the lab's directory; options are more for up.
func Up(root, name, policy string, options ...string) (*Lab, error) {
	l := &Lab{}
	var err error
	if l.Root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if policy, err = filepath.Abs(policy); err != nil {
		return nil, err
	}
	if l.Dir, err = os.MkdirTemp("", "sluice-"+name+"-"); err != nil {
		return nil, err
	}
	// Beside other work the programs alone may take minutes to build, and
	// Kubernetes at its first time.
	if up := ResultOf(l.Command(15*time.Minute, append([]string{"up", "--policy", policy}, options...)...)); up.Code != 0 {
		return nil, errors.Join(fmt.Errorf("lab up: %s", up.All()), l.Down())
	}
	return l, nil
}

// Down stops the lab and removes all that it has.
func (l *Lab) Down() error {
	var err error
	if down := ResultOf(l.Command(3*time.Minute, "down")); down.Code != 0 {
		err = fmt.Errorf("lab down: %s", down.All())
	}
	return errors.Join(err, os.RemoveAll(l.Dir))
}

// Command is a call of scripts/lab that is not started yet. It may take that
// long at most.
func (l *Lab) Command(most time.Duration, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	cmd := exec.CommandContext(ctx, filepath.Join(l.Root, "scripts/lab"), args...)
	cmd.Env = append(os.Environ(), "SLUICE_LAB_DIR="+l.Dir)
	cmd.Dir = l.Root
	cmd.WaitDelay = 10 * time.Second // what it started has its output, and may live on
	context.AfterFunc(ctx, cancel)
	return cmd
}

// Do is a call of scripts/lab that must succeed. It returns what it printed.
func (l *Lab) Do(t testing.TB, args ...string) string {
	t.Helper()
	r := ResultOf(l.Command(3*time.Minute, args...))
	if r.Code != 0 {
		t.Fatalf("lab %s: %s", strings.Join(args, " "), r.All())
	}
	return r.Out
}

// Ctl runs sluice as the approver, which must succeed.
func (l *Lab) Ctl(t testing.TB, args ...string) string {
	t.Helper()
	return l.Do(t, append([]string{"ctl"}, args...)...)
}

// Result is what a command printed and how it ended.
type Result struct {
	Out, Errs string
	Code      int
	Took      time.Duration
}

// All is everything that the command printed.
func (r Result) All() string { return r.Out + r.Errs }

// ResultOf runs a command to its end.
func ResultOf(cmd *exec.Cmd) Result {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	r := Result{Out: out.String(), Errs: errs.String(), Took: time.Since(began)}
	if err != nil {
		r.Code = cmd.ProcessState.ExitCode()
		r.Errs += "\n" + err.Error()
	}
	return r
}

// Session is one element of sluice sessions --json, which scripts of other people rely on.
type Session struct {
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

// Sessions are the newest that the collector knows, the newest first.
func (l *Lab) Sessions(t testing.TB, limit int) []Session {
	t.Helper()
	var got []Session
	if err := json.Unmarshal([]byte(l.Ctl(t, "sessions", "--json", "--limit", fmt.Sprint(limit))), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// Newest waits for the newest session that began after a moment, has ended and
// satisfies want: records reach the collector in batches, a moment after the
// job ended, and until then the newest session is another test's.
func (l *Lab) Newest(t testing.TB, after time.Time, want func(Session) bool) (found Session) {
	t.Helper()
	Within(t, 30*time.Second, "the session is at the collector", func() bool {
		for _, s := range l.Sessions(t, 5) {
			if s.Started.After(after) && s.Ended != nil && want(s) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// Within waits until something is true.
func Within(t testing.TB, most time.Duration, what string, is func() bool) {
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
