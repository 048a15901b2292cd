package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/policy"
)

func newPolicy(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Check policy files, test them, ask them about what was recorded, publish them"}
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Check a policy file: every problem at once",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return e.checkPolicy(args[0]) },
	}, &cobra.Command{
		Use:   "test FILE CASES...",
		Short: "Ask a policy the questions of files of cases",
		Args:  cobra.MinimumNArgs(2),
		RunE:  func(_ *cobra.Command, args []string) error { return e.testPolicy(args[0], args[1:]) },
	}, newShapes(e), newExplain(e), newSimulate(e), newObserveReport(e), newPublish(e), newPublished(e), newRollback(e))
	return cmd
}

func (e *env) checkPolicy(path string) error {
	parsed, err := e.readPolicy(path)
	if err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(map[string]any{"ok": true, "sha256": parsed.Hash(), "problems": []string{}})
	}
	e.printf("%s: %s, sha256 %s\n", path, plural(uint64(len(parsed.Resources())), "resource"), parsed.Hash())
	return nil
}

// testPolicy prints a line for each case that the policy answers differently.
func (e *env) testPolicy(path string, files []string) error {
	parsed, err := e.readPolicy(path)
	if err != nil {
		return err
	}
	failures := []string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		failed, err := parsed.Test(file, data)
		if err != nil {
			return e.problems(err)
		}
		failures = append(failures, failed...)
	}
	if len(failures) > 0 {
		return e.lines(failures)
	}
	if e.flags.json {
		return e.printJSON(map[string]any{"ok": true, "problems": failures})
	}
	e.printf("%s: every case is answered as expected\n", path)
	return nil
}

// readPolicy parses a policy file. What is wrong with it has been printed when
// it returns an exit.
func (e *env) readPolicy(path string) (*policy.Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	parsed, err := policy.Parse(path, data)
	if err != nil {
		return nil, e.problems(err)
	}
	return parsed, nil
}

// problems prints what is wrong with a file, one problem a line.
func (e *env) problems(err error) error {
	list := []string{}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, one := range joined.Unwrap() {
			list = append(list, one.Error())
		}
	} else {
		list = append(list, err.Error())
	}
	return e.lines(list)
}

// lines prints what does not hold, one a line, and ends with its own status.
func (e *env) lines(list []string) error {
	if e.flags.json {
		if err := e.printJSON(map[string]any{"ok": false, "problems": list}); err != nil {
			return err
		}
		return exit{exitFindings}
	}
	for _, line := range list {
		e.printf("%s\n", line)
	}
	return exit{exitFindings}
}

func newDoctor(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine's kernel offers to the agent (runs sluice-agent doctor)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := agentProgram()
			if err != nil {
				return err
			}
			args := []string{"doctor"}
			if e.flags.json {
				args = append(args, "--json")
			}
			run := exec.CommandContext(cmd.Context(), program, args...)
			run.Stdin, run.Stdout, run.Stderr = e.in, e.out, cmd.ErrOrStderr()
			err = run.Run()
			var status *exec.ExitError
			if errors.As(err, &status) && status.ExitCode() > 0 {
				return exit{status.ExitCode()}
			}
			return err
		},
	}
}

// agentProgram finds sluice-agent beside this program or on the PATH. The
// agent links eBPF, and this program never does.
func agentProgram() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "sluice-agent")
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath("sluice-agent")
	if err != nil {
		return "", fmt.Errorf("doctor runs on the node: sluice-agent is neither beside this program nor on the PATH: %w", err)
	}
	return path, nil
}
