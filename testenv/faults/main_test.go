// Package faults breaks a whole Sluice under load, one fault at a time, and
// asks the database what got through.
//
// The lab is real: a PostgreSQL that logs every statement, unmodified jobs in
// containers, the agent and the collector, built with the tag faults so that
// they can be ended at named places (pkg/failpoint). After each fault the
// database's own log is the judge: every statement in it has its record exactly
// once in the collector. Verification passes, or it names the fault; and the
// system goes on without a hand, or refuses to until a person has looked where
// going on would destroy evidence.
package faults

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// long asks for the whole matrix; without it a few faults stand for the rest.
var long = flag.Bool("long", false, "break everything, and print the table")

// lab is where this package's one lab is.
var lab struct{ root, dir, faults string }

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == twinRole {
		if err := twin(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "twin:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	status, err := underLab(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		status = 1
	}
	os.Exit(status)
}

func underLab(m *testing.M) (status int, err error) {
	if lab.root, err = filepath.Abs("../.."); err != nil {
		return 0, err
	}
	if lab.dir, err = os.MkdirTemp("", "sluice-faults-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(lab.dir)) }()
	// The agent's proxy, an ordinary user, takes the files away that arm a place.
	if lab.faults, err = os.MkdirTemp("", "sluice-armed-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(lab.faults)) }()
	if err := os.Chmod(lab.faults, 0o777); err != nil {
		return 0, err
	}
	policy, err := filepath.Abs("policy.yaml")
	if err != nil {
		return 0, err
	}
	if up := run("up", "--without", "kube", "--policy", policy); up.err != nil {
		return 0, fmt.Errorf("lab up: %s", up.all)
	}
	defer func() {
		if down := run("down"); down.err != nil {
			err = errors.Join(err, fmt.Errorf("lab down: %s", down.all))
		}
	}()
	return m.Run(), nil
}

// result is what a command printed and how it ended.
type result struct {
	out, all string
	err      error
}

// labCommand is a call of scripts/lab that is not started yet.
func labCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("timeout", append([]string{"600", filepath.Join(lab.root, "scripts/lab")}, args...)...)
	cmd.Env = append(os.Environ(), "SLUICE_LAB_DIR="+lab.dir, "SLUICE_FAULT_DIR="+lab.faults, "GOFLAGS=-tags=faults")
	cmd.Dir = lab.root
	return cmd
}

func run(args ...string) result {
	cmd := labCommand(args...)
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &all
	err := cmd.Run()
	return result{out: out.String(), all: out.String() + all.String(), err: err}
}

// do is a lab command that must succeed.
func do(t *testing.T, args ...string) string {
	t.Helper()
	r := run(args...)
	if r.err != nil {
		t.Fatalf("lab %s: %v\n%s", strings.Join(args, " "), r.err, r.all)
	}
	return r.out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		if is() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute and a half: %s", what)
		}
	}
}

// file names one of the lab's.
func file(parts ...string) string { return filepath.Join(append([]string{lab.dir}, parts...)...) }

// sh runs a shell command on the node's files.
func sh(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = lab.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
