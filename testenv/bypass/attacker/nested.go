package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// nestedLimit is how long a Docker daemon of the job's own may take to start.
const nestedLimit = 30 * time.Second

// nested runs a Docker daemon in the job, and tries from a container of its.
func nested(to target) seen {
	dir, err := os.MkdirTemp("/", "nested-")
	if err != nil {
		return saw("", err)
	}
	socket := filepath.Join(dir, "docker.sock")
	daemon := exec.Command("dockerd", "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", "unix://"+socket, "--bip", "198.18.16.1/24", "--storage-driver", "vfs")
	var log bytes.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		return saw("dockerd", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = daemon.Wait() // its log says more
		close(ended)
	}()
	docker := func(args ...string) *exec.Cmd {
		return exec.Command("docker", append([]string{"--host", "unix://" + socket}, args...)...)
	}
	deadline := time.After(nestedLimit)
	for tick := time.NewTicker(50 * time.Millisecond); docker("version").Run() != nil; {
		select {
		case <-ended:
			return seen{Saw: "dockerd: … " + lastWords(log.String())}
		case <-deadline:
			return seen{Saw: "dockerd: time-out"}
		case <-tick.C:
		}
	}
	s := fromNested(docker, to)
	_ = daemon.Process.Signal(syscall.SIGTERM)
	<-ended
	return s
}

// lastWords is the end of what dockerd gave as its reason to end: the lines that
// are no entries of its log, where there are any. Parts of it may log on behind.
func lastWords(log string) string {
	reason := ""
	for line := range strings.Lines(log) {
		if !strings.Contains(line, " level=") {
			reason += line
		}
	}
	words := strings.Fields(cmp.Or(strings.TrimSpace(reason), log))
	return strings.Join(words[max(0, len(words)-20):], " ")
}

func fromNested(docker func(args ...string) *exec.Cmd, to target) seen {
	image := docker("import", "-", "nested")
	tar := exec.Command("tar", "--create", "--directory", "/attack", "attacker")
	var err error
	if image.Stdin, err = tar.StdoutPipe(); err != nil {
		return saw("", err)
	}
	if err := tar.Start(); err != nil {
		return saw("tar", err)
	}
	if out, err := image.CombinedOutput(); err != nil {
		return seen{Saw: "docker import: " + string(out)}
	}
	_ = tar.Wait() // the image would not have been whole
	text, err := json.Marshal(to)
	if err != nil {
		return saw("", err)
	}
	var errs bytes.Buffer
	run := docker("run", "--rm", "nested", "/attacker", "try", "tcp", string(text))
	run.Stderr = &errs
	out, err := run.Output()
	if err != nil {
		return seen{Saw: "docker run: " + errs.String()}
	}
	var inner seen
	if err := json.Unmarshal(out, &inner); err != nil {
		return saw("", err)
	}
	return inner
}

// canary is a server in a container, as the suite has one outside.
func canary(port string) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(conn, "CANARY "); err != nil {
			return err
		}
		_ = conn.Close() // it has said what it had to
	}
}
