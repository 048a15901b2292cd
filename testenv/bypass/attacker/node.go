package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nodes attack the agent's process and what it keeps on the node.
func nodes() []technique {
	return []technique{
		{"signal-agent", func(to target) seen { return gaining("kill", unix.Kill(to.Agent, unix.SIGKILL)) }},
		{"ptrace-agent", func(to target) seen { return gaining("ptrace", unix.PtraceSeize(to.Agent)) }},
		{"read-agents-memory", readMemory},
		{"agents-files", agentsFiles},
		{"agents-pins", agentsPins},
		{"mount-bpffs", mountBPF},
		{"bpf-link-detach", detachLinks},
		{"bpf-prog-detach", detachPrograms},
		{"runtime-socket", runtimeSocket},
		{"second-container", secondContainer},
		{"nested-container", nested},
		{"flood-connections", floodConnections},
		{"flood-datagrams", floodDatagrams},
		{"flood-raw", floodRaw},
	}
}

// gaining is for what must not succeed.
func gaining(doing string, err error) seen {
	s := saw(doing, err)
	s.Gained = err == nil
	return s
}

func readMemory(to target) seen {
	there := make([]byte, 8)
	remote := []unix.RemoteIovec{{Base: 0x400000, Len: len(there)}}
	local := []unix.Iovec{{Base: &there[0], Len: uint64(len(there))}}
	if _, err := unix.ProcessVMReadv(to.Agent, local, remote, 0); err == nil {
		return seen{Saw: "read the agent's memory", Gained: true}
	}
	_, err := os.ReadFile(fmt.Sprintf("/proc/%d/mem", to.Agent))
	return gaining("read", err)
}

func agentsFiles(to target) seen {
	_, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", to.Agent))
	return gaining("readdir", err)
}

func agentsPins(to target) seen {
	for _, dir := range []string{to.Pins, "/sys/fs/bpf/sluice"} {
		if _, err := os.ReadDir(dir); err == nil {
			return seen{Saw: "it sees " + dir, Gained: true}
		}
	}
	_, err := os.ReadDir(to.Pins)
	return gaining("readdir", err)
}

func mountBPF(to target) seen {
	dir := filepath.Join(to.Share, "bpffs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return saw("", err)
	}
	return gaining("mount", unix.Mount("bpf", dir, "bpf", 0, ""))
}

// From linux/bpf.h.
const (
	bpfProgDetach      = 9
	bpfLinkGetFDByID   = 30
	bpfLinkDetach      = 34
	attachInetEgress   = 1
	attachInet4Connect = 10
)

func bpf(command uintptr, attr *[32]uint32) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// detachLinks takes the agent's programs out of force, if it may.
func detachLinks(to target) seen {
	for _, id := range to.Links {
		fd, err := bpf(bpfLinkGetFDByID, &[32]uint32{id})
		if err != nil {
			return saw("bpf", err)
		}
		if _, err := bpf(bpfLinkDetach, &[32]uint32{uint32(fd)}); err != nil {
			return saw("bpf", err)
		}
	}
	return seen{Saw: "bpf: detached the programs", Gained: true}
}

func detachPrograms(to target) seen {
	root, err := unix.Open("/sys/fs/cgroup/unified", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil { // a machine without cgroup v1
		root, err = unix.Open("/sys/fs/cgroup", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return saw("open", err)
	}
	for _, kind := range []uint32{attachInet4Connect, attachInetEgress} {
		if _, err := bpf(bpfProgDetach, &[32]uint32{uint32(root), 0, kind}); err != nil {
			return saw("bpf", err)
		}
	}
	return seen{Saw: "bpf: detached the programs", Gained: true}
}

// runtimeSocket wants to ask for another container.
func runtimeSocket(target) seen {
	var last error
	for _, path := range []string{"/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"} {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
			return seen{Saw: "connected to " + path, Gained: true}
		}
		last = err
	}
	return seen{Saw: last.Error()}
}

// secondContainer asks the runtime for a container on the node's own network.
func secondContainer(to target) seen {
	text, err := json.Marshal(to)
	if err != nil {
		return saw("", err)
	}
	args := append([]string{"--host", "unix:///run/docker.sock", "run", "--rm", "--network", "host"}, to.Run...)
	out, err := exec.Command("docker", append(args, "/attack/attacker", "try", "tcp", string(text))...).Output()
	return reported("docker", out, err)
}

// floodConnections keeps more protected connections open than one namespace may
// have records.
func floodConnections(to target) seen {
	limit := unix.Rlimit{Cur: 8192, Max: 8192}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) // what it has is enough to try
	made := 0
	var last error
	for range 4500 {
		fd, err := open(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			last = err
			break
		}
		if err := unix.Connect(fd, at(unix.AF_INET, to.Server4, to.Port)); err == nil || err == unix.EINPROGRESS {
			made++
		}
	}
	pause()
	return seen{Saw: fmt.Sprintf("%d connections, last error: %v", made, last)}
}

func floodDatagrams(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return saw("", err)
	}
	for range 20000 {
		err = unix.Sendto(fd, []byte(payload), 0, at(unix.AF_INET, to.Server4, to.Port))
	}
	pause()
	return saw("sendto", err)
}

func floodRaw(to target) seen {
	src, err := ownAddress(false)
	if err != nil {
		return saw("", err)
	}
	fd, err := open(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP)
	if err != nil {
		return saw("", err)
	}
	for range 20000 {
		err = unix.Sendto(fd, syn(to, src), 0, at(unix.AF_INET, to.Server4, 0))
	}
	pause()
	return saw("sendto", err)
}
