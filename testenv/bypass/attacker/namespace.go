package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaces leave the cgroup or the network namespace that the agent knows.
func namespaces() []technique {
	return []technique{
		{"own-namespaces", ownNamespaces},
		{"moved-cgroup", moved},
		{"cgroup-write", cgroupWrite},
		{"cgroup-mount", cgroupMount},
		{"passed-socket", passedSocket},
	}
}

// ownNamespaces is root in user and network namespaces of its own, from which
// it tries again.
func ownNamespaces(to target) seen {
	text, err := json.Marshal(to)
	if err != nil {
		return saw("", err)
	}
	cmd := exec.Command("/proc/self/exe", "try", "tcp", string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	return reported("clone", out, err)
}

// reported is what another attacker, which this one started by step, saw.
func reported(step string, out []byte, err error) seen {
	if err != nil {
		return saw(step, err)
	}
	var inner seen
	if err := json.Unmarshal(out, &inner); err != nil {
		return saw("", err)
	}
	return inner
}

// moved waits until the suite has put it into another cgroup.
func moved(to target) seen {
	pause()
	return stream(unix.AF_INET, 0, v4)(to)
}

// cgroupWrite wants to leave its cgroup by itself.
func cgroupWrite(target) seen {
	last := seen{Saw: "cgroup.procs: no such file or directory"}
	for _, pattern := range []string{"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/*/cgroup.procs"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return saw("", err)
		}
		for _, file := range files {
			err := os.WriteFile(file, []byte("0"), 0)
			if err == nil {
				return seen{Saw: "moved within " + file, Gained: true}
			}
			last = saw("", err)
		}
	}
	return last
}

// cgroupMount wants a writable tree of cgroups.
func cgroupMount(to target) seen {
	dir := filepath.Join(to.Share, "cgroup2")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return saw("", err)
	}
	err := unix.Mount("none", dir, "cgroup2", 0, "")
	s := saw("mount", err)
	s.Gained = err == nil
	return s
}

// passedSocket connects with a socket that was made in another cgroup and
// another network namespace, and handed over (SCM_RIGHTS).
func passedSocket(to target) seen {
	conn, err := net.Dial("unix", filepath.Join(to.Share, "hand-over"))
	if err != nil {
		return saw("", err)
	}
	raw, err := conn.(*net.UnixConn).File()
	if err != nil {
		return saw("", err)
	}
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(raw.Fd()), make([]byte, 1), control, 0)
	if err != nil {
		return saw("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return saw("recvmsg", fmt.Errorf("no control message: %w", err))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return saw("recvmsg", err)
	}
	soften(fds[0])
	return talk(fds[0], at(unix.AF_INET, to.Server4, to.Port))
}
