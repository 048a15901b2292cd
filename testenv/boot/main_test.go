//go:build boot

// Package boot installs a whole Sluice on a machine of its own, as
// docs/operations.md says, under a real systemd, and asks what a job can reach
// while the machine boots, while the agent starts, is replaced, is killed and
// is away, and what cgroup v1 alone leaves of it.
//
// The machine is emulated: Debian's kernel, and Debian's systemd, Docker and
// PostgreSQL from the packages of the machine that runs the tests. What is
// protected is the PostgreSQL, in a network namespace of its own; until
// something guards it a job reaches it directly, and sees that it does.
//
// The tests share one machine and build on each other: run them all.
package boot

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
)

// made is where scripts/boot has put disk, kernel and initrd.
var made = flag.String("made", "", "what scripts/boot made")

// node is the machine with cgroup v2, as Debian boots it.
var node *machine

func TestMain(m *testing.M) {
	flag.Parse()
	status, err := withNode(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "boot:", err)
		status = 1
	}
	os.Exit(status)
}

func withNode(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("/var/tmp", "sluice-boot-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if node, err = start(*made, dir, ""); err != nil {
		return 0, err
	}
	defer node.stop()
	if err := node.install(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
