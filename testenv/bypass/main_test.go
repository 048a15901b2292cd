// Package bypass tries to reach a protected server around the agent, from
// inside real containers, and proves for each technique which hook stopped it.
//
// The node is this process's own network namespace, with a Docker daemon whose
// containers are the jobs and with the agent's interception in force. The
// server is a canary: whatever arrives at its protected port, seen by a capture
// on its link below every hook, has come around the agent. A technique counts
// as stopped only if nothing arrived, if what stopped it moved its counter or
// gave the expected error, and if the same technique does arrive at a server
// that is not protected.
//
// The suite does not judge what only root on the node can do; those rows are
// expected to be detected, and never count as stopped.
package bypass

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The main thread must never be one that a goroutine takes elsewhere: see
// package redirect.
func init() { runtime.LockOSThread() }

// long asks for the tables, and for the variants that take minutes.
var long = flag.Bool("long", false, "run the long variants and print the tables")

// inside is the argument by which this binary knows that it is on its own node.
const inside = "inside"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == inside {
		dir := os.Args[2]
		os.Args = append(os.Args[:1], os.Args[3:]...)
		flag.Parse()
		os.Exit(onNode(m, dir))
	}
	if err := makeNode(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) { // the tests have said why
			fmt.Fprintln(os.Stderr, "bypass:", err)
		}
		os.Exit(1)
	}
}

// makeNode runs the tests in network and mount namespaces of their own, and
// sweeps up behind them however they end.
func makeNode() error {
	dir, err := os.MkdirTemp("", "sluice-bypass-")
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, append([]string{inside, dir}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGKILL,
	}
	err = cmd.Run()
	return errors.Join(err, sweep(dir))
}

// sweep ends what a killed run left: its daemons name its directory on their
// command lines, and its containers' processes are children of theirs.
func sweep(dir string) error {
	for {
		left := false
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return err
		}
		for _, file := range lines {
			line, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(line), dir) {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil || pid == os.Getpid() {
				continue
			}
			left = syscall.Kill(pid, syscall.SIGKILL) == nil || left
		}
		if !left {
			return os.RemoveAll(dir)
		}
		runtime.Gosched()
	}
}

func onNode(m *testing.M, dir string) int {
	var err error
	if lab, err = newWorld(dir); err != nil {
		fmt.Fprintln(os.Stderr, "bypass:", errors.Join(err, lab.close()))
		return 1
	}
	status := m.Run()
	if *long {
		lab.printTables(os.Stdout)
	}
	if err := lab.close(); err != nil {
		fmt.Fprintln(os.Stderr, "bypass:", err)
		return 1
	}
	return status
}
