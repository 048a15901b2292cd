// Command lab runs a whole Sluice on one machine: a real PostgreSQL, a
// real OpenSSH server, a real Kubernetes API server, a shop's own API, a collector, an agent with its eBPF programs, and a Docker daemon whose
// containers are the jobs. Everything lives in network namespaces of its own
// and under one state directory, so that labs of different checkouts run side
// by side. scripts/lab builds and calls it; other people's tests rely on its commands.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const usage = `usage: lab COMMAND
  up [--policy FILE] [--without kube]    start servers, collector and agent; return when ready
  job [--name N] [--env K=V]... [--label K=V]... [--commit ID] -- CMD
                                         run CMD as an unmodified CI job in a container of its own
  ci github|buildkite|gitlab NAME=VALUE...
                                         start a job at the CI system, of which it says that; print its variables
  admin SERVER -- CMD                    run CMD beside a server (pg, ssh, git, web, kube), around the agent
  ctl ARGS...                            sluice against the lab's collector, as an approver
  stop|start|kill agent|collector        kill is SIGKILL
  status [--json]                        what runs, and where
  down                                   stop everything and remove it`

func main() {
	err := run(os.Args[1:])
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(125) // as docker run: the lab's own failure, not the job's
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	if os.Geteuid() != 0 {
		return errors.New("the lab loads eBPF programs and makes network namespaces: run it as root")
	}
	dir := os.Getenv("SLUICE_LAB_DIR")
	if dir == "" {
		return errors.New("SLUICE_LAB_DIR is not set: call scripts/lab")
	}
	lab, err := open(dir)
	if err != nil {
		return err
	}
	command, args := args[0], args[1:]
	if command == "up" {
		return lab.up(args)
	}
	if command == "down" {
		return lab.down()
	}
	if command == "status" {
		return lab.status(args)
	}
	if !lab.isUp() {
		return errors.New("the lab is not up: run scripts/lab up first")
	}
	switch command {
	case "job":
		return lab.job(args)
	case "admin":
		return lab.admin(args)
	case "ci":
		return lab.ci(args)
	case "ctl":
		return lab.ctl(args)
	case "issuer": // started by up, inside the node's netns
		return lab.serveIssuer()
	case "repositories": // likewise, on the host of the repositories
		return lab.serveGitHTTPS()
	case "api": // likewise, beside the database
		return lab.serveWeb()
	case "stop", "start", "kill", "uninstall":
		if len(args) != 1 {
			return fmt.Errorf("%s takes one of: agent, collector", command)
		}
		return lab.power(command, args[0])
	}
	return fmt.Errorf("unknown command %q\n%s", command, usage)
}

// afterDashes splits args at "--"; what follows is a command to run.
func afterDashes(args []string) (before, command []string, err error) {
	for i, arg := range args {
		if arg == "--" && i+1 < len(args) {
			return args[:i], args[i+1:], nil
		}
	}
	return nil, nil, fmt.Errorf("write the command after --, got: %s", strings.Join(args, " "))
}
