package attribution_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
)

// podman is root's Podman of the test's own, with a service that is asked and an
// image that waits for its input to end or, if told anything, forever.
type podman struct {
	t      testing.TB
	dir    string
	socket string
	parent string // cgroup in which its containers are
}

// podmanSettings are what works where root lacks SYS_RESOURCE and no systemd runs.
const podmanSettings = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
pids_limit = 0
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
[network]
network_backend = "netavark"
network_config_dir = %q
`

// startPodman runs Podman's service in mount and network namespaces of its own, where
// it finds no locks, leases and caches of another one.
func startPodman(t *testing.T) *podman {
	t.Helper()
	dir, err := os.MkdirTemp("", "podman-") // a test's own is longer than Podman takes
	if err != nil {
		t.Fatal(err)
	}
	p := &podman{t: t, dir: dir, socket: filepath.Join(dir, "podman.sock"), parent: fmt.Sprintf("sluice-podman-%d", os.Getpid())}
	if err := os.WriteFile(filepath.Join(dir, "containers.conf"), fmt.Appendf(nil, podmanSettings, filepath.Join(dir, "networks")), 0o600); err != nil {
		t.Fatal(err)
	}
	state := func(name string) string { return filepath.Join(dir, name) }
	const own = `for dir in /dev/shm /run /var/lib; do mount -t tmpfs none $dir || exit; done
ip link set lo up && ip address add 198.51.100.1/24 dev lo && exec podman "$@"`
	cmd := exec.Command("sh", "-c", own, "sh",
		"--root", state("data"), "--runroot", state("run"), "--tmpdir", state("tmp"), "--storage-driver", "vfs",
		"system", "service", "--time", "0", "unix://"+p.socket)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+state("containers.conf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start podman (the test needs podman): %v", err)
	}
	t.Cleanup(func() { p.stop(cmd) })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		if conn, err := net.Dial("unix", p.socket); err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("podman is not ready after 20 seconds:\n%s", log.String())
		}
	}
	p.importImage("waiter:1")
	return p
}

func (p *podman) in(t testing.TB) *podman {
	sub := *p
	sub.t = t
	return &sub
}

// podman has the service do something and returns what its client prints.
func (p *podman) podman(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("podman", append([]string{"--url", "unix://" + p.socket}, args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(p.dir, "containers.conf"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// stop ends Podman's service and what it leaves, which names the test's directory: it
// keeps the monitor of what was executed for minutes. It removes its cgroups.
func (p *podman) stop(service *exec.Cmd) {
	_ = service.Process.Signal(syscall.SIGTERM)
	_ = service.Wait()
	for p.killLeft() {
		runtime.Gosched()
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.t.Error(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); p.leavesCgroups() && time.Now().Before(deadline); <-tick.C {
	}
}

// leavesCgroups removes them, and reports whether the test's own are still there: a
// process may be about to end. Another test may use the one of all pods.
func (p *podman) leavesCgroups() (left bool) {
	for _, name := range []string{p.parent, "libpod_parent"} {
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			found, _ := filepath.Glob(pattern + name)
			for _, dir := range found {
				removeCgroups(p.t, dir)
			}
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(pattern + p.parent)
		left = left || len(found) > 0
	}
	return left
}

// killLeft kills what is left of Podman, and reports whether there was anything.
func (p *podman) killLeft() (found bool) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && pid > 0 && bytes.Contains(line, []byte(p.dir+"/")) {
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return found
}

// removeCgroups removes a cgroup and those in it, but where somebody is.
func removeCgroups(t testing.TB, dir string) {
	var all []string
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(all) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("remove cgroup: %v", err)
		}
	}
}

// importImage makes an image that holds nothing but one static program.
func (p *podman) importImage(name string, changes ...string) {
	p.t.Helper()
	archive := filepath.Join(p.dir, "root.tar")
	if _, err := os.Stat(archive); err != nil {
		source, root := filepath.Join(p.dir, "wait.go"), filepath.Join(p.dir, "root")
		const program = "package main\n\nimport (\n\t\"os\"\n\t\"time\"\n)\n\nfunc main() {\n\tif len(os.Args) > 1 {\n\t\ttime.Sleep(time.Hour)\n\t}\n\t_, _ = os.Stdin.Read(make([]byte, 1))\n}\n"
		if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
			p.t.Fatal(err)
		}
		build := exec.Command("go", "build", "-o", filepath.Join(root, "wait"), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		for _, cmd := range []*exec.Cmd{build, exec.Command("tar", "-C", root, "-cf", archive, ".")} {
			if out, err := cmd.CombinedOutput(); err != nil {
				p.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
			}
		}
	}
	p.podman(append(append([]string{"import"}, changes...), archive, name)...)
}

// run starts a container and returns its id and the origin of a connection of its
// first process.
func (p *podman) run(args ...string) (string, attribution.Origin) {
	p.t.Helper()
	if !slices.Contains(args, "--network") && !slices.Contains(args, "--pod") {
		args = append(args, "--network", "none")
	}
	if !slices.Contains(args, "--pod") {
		args = append(args, "--cgroup-parent", p.parent)
	}
	id := p.podman(append(append([]string{"run", "--detach", "--interactive"}, args...), "waiter:1", "/wait", "forever")...)
	p.t.Cleanup(func() { p.podman("rm", "--force", "--time", "0", id) })
	return id, p.origin(id)
}

// origin is that of a connection of a container's first process.
func (p *podman) origin(id string) attribution.Origin {
	p.t.Helper()
	pid, err := strconv.ParseUint(p.podman("inspect", "--format", "{{.State.Pid}}", id), 10, 32)
	if err != nil {
		p.t.Fatal(err)
	}
	return attribution.Origin{CgroupID: inode(p.t, cgroupOf(p.t, int(pid))), PID: uint32(pid)}
}

// cgroupOf returns where a process is in v2.
func cgroupOf(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, found := strings.CutPrefix(line, "0::"); found {
			return filepath.Join(cgroupRoot(t), strings.TrimSpace(path))
		}
	}
	t.Fatalf("process %d is not in v2", pid)
	return ""
}
