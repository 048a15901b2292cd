package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is one that the lab started and will end. The start time guards
// against a pid that the kernel gave to somebody else.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // field 22 of /proc/PID/stat, clock ticks since boot
}

// spawn starts argv in a session of its own with its output in logFile, so
// that it outlives the lab command. It inherits the files.
func spawn(logFile string, inherit []*os.File, argv ...string) (process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return process{}, err
	}
	defer func() { _ = out.Close() }() // the child has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.ExtraFiles = inherit
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return process{}, err
	}
	p := process{PID: cmd.Process.Pid, Start: startTime(cmd.Process.Pid)}
	// Reap it if it ends while this command still runs, so that alive() does
	// not take a zombie for a program that started well.
	go func() { _ = cmd.Wait() }()
	return p, nil
}

// startTime returns when pid started, or "" when there is no such process.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The command, in parentheses, may itself hold spaces and parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	// A first thread that has ended is a zombie while others still hold the
	// process's files and locks; alone, it is only waiting to be reaped.
	if state, threads := fields[0], fields[17]; state == "Z" && threads == "1" {
		return ""
	}
	return fields[19]
}

func (p process) alive() bool { return p.PID > 0 && p.Start != "" && startTime(p.PID) == p.Start }

// end sends sig and waits until the process is gone; after patience it sends
// SIGKILL.
func (p process) end(sig syscall.Signal, patience time.Duration) error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %d: %w", p.PID, err)
	}
	if waitFor(patience, func() bool { return !p.alive() }) == nil {
		return nil
	}
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	if err := waitFor(10*time.Second, func() bool { return !p.alive() }); err != nil {
		return fmt.Errorf("process %d does not end: %w", p.PID, err)
	}
	return nil
}

// waitFor asks done every 20 ms until it is true or patience is over.
func waitFor(patience time.Duration, done func() bool) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if done() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %v", patience)
		}
	}
}

// command runs argv to its end and returns what it printed on stdout; its
// stderr is in the error. The error does not wrap the exit status, which main
// would take for that of the command that a person asked for.
func command(argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %s\n%s", strings.Join(argv, " "), err.Error(), bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// attached runs argv with this command's own input and output.
func attached(env []string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	return cmd.Run()
}

// tail returns the end of a log file, for an error that a person must
// understand.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return filepath.Base(file) + ":\n" + string(text)
}
