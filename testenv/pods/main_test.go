// Package pods runs Sluice on a real Kubernetes node: containerd and a kubelet
// with their pods, below an API server that issues the pods' tokens. The agent
// is the lab's, and then the one of deploy/kubernetes.
package pods

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// inside is set in the process that runs the tests.
const inside = "SLUICE_PODS_TREE"

// own are directories whose content here is the suite's alone, so that the
// node's parts run with the paths that they have elsewhere.
var own = []string{
	"/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/kubelet", "/var/lib/sluice-agent", "/var/log/containers", "/var/log/pods",
}

// TestMain runs the tests in a process of their own that has a mount namespace
// to itself: what a kubelet mounts ends with it. This one stays outside and
// sees to it that nothing else is left, whatever becomes of the tests.
func TestMain(m *testing.M) {
	if tree := os.Getenv(inside); tree != "" {
		os.Exit(underNode(m, tree))
	}
	status, err := enclose("/sluice-pods-" + strconv.Itoa(os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "pods:", err)
		status = 1
	}
	os.Exit(status)
}

// enclose runs this program again, inside, and ends everything that it leaves:
// the kernel makes this process the parent of all whose own has gone.
func enclose(tree string) (status int, err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become a subreaper: %w", err)
	}
	made, err := makeDirs(own)
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, dir := range made {
			_ = os.Remove(dir) // somebody else may use it by now
		}
	}()
	tmp, err := os.MkdirTemp("", "sluice-")
	if err != nil {
		return 0, err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"="+tree, "TMPDIR="+tmp)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		<-stop // the inner one dies of it with its stacks printed, and the rest follows
		_ = cmd.Process.Signal(syscall.SIGQUIT)
	}()
	status = reapUntil(cmd.Process.Pid)
	if left := endRest(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "pods: ended what was left:", strings.Join(left, ", "))
	}
	return status, errors.Join(netlab.RemoveCgroups(tree), removeLab(tmp), os.RemoveAll(tmp))
}

// removeLab removes what a lab that was not taken down has outside of its
// directory.
func removeLab(tmp string) (err error) {
	states, _ := filepath.Glob(filepath.Join(tmp, "*", "state.json"))
	for _, file := range states {
		var state struct{ Node string }
		text, readErr := os.ReadFile(file)
		if err = errors.Join(err, readErr, json.Unmarshal(text, &state)); err != nil || state.Node == "" {
			continue
		}
		err = os.RemoveAll(filepath.Join("/run", state.Node))
		cgroups, _ := filepath.Glob(filepath.Join(cgroupRoot(), state.Node+"-*"))
		for _, cgroup := range cgroups {
			err = errors.Join(err, netlab.RemoveCgroups(filepath.Base(cgroup)))
		}
	}
	return err
}

func makeDirs(all []string) (made []string, err error) {
	for _, dir := range all {
		for at := dir; ; at = filepath.Dir(at) {
			if _, err := os.Stat(at); err == nil {
				break
			}
			made = append(made, at)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return made, err
		}
	}
	return made, nil
}

// reapUntil collects the dead until pid is among them, and returns how it ended.
func reapUntil(pid int) (status int) {
	for {
		var how syscall.WaitStatus
		who, err := syscall.Wait4(-1, &how, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || who == pid && how.Signaled() {
			return 1
		}
		if who == pid {
			return how.ExitStatus()
		}
	}
}

// endRest kills this process's children until it has none, and names them. A
// child's own come to it when the child has gone.
func endRest() (left []string) {
	killed := map[int]bool{}
	for {
		for _, pid := range children() {
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err != nil || killed[pid] || syscall.Kill(pid, syscall.SIGKILL) != nil {
				continue
			}
			killed[pid] = true
			left = append(left, fmt.Sprintf("%s (%d)", strings.TrimSpace(string(name)), pid))
		}
		if _, err := syscall.Wait4(-1, nil, 0, nil); err == syscall.ECHILD {
			return left
		}
	}
}

func children() (all []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}
