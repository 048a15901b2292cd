package bypass

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

// stagedTechniques are those that a test of their own sets up.
func stagedTechniques() []string {
	return []string{
		"moved-cgroup", "passed-socket", "older-socket", "leg-sniff", "leg-listen", "leg-reset", "leg-neighbour",
		"flood-connections", "flood-datagrams", "flood-raw", "second-container",
		"overlay", "overlay-broadcast", "overlay-packet-socket", "overlay-ip-in-ip",
	}
}

// stage runs a technique that needs the suite's help.
func (w *world) stage(t *testing.T, j *job, set string, r row, midway ...func()) {
	t.Helper()
	before, to := w.look(t), w.target()
	if j.onNode {
		to.Gateway = w.server4 // its next hop
	}
	s := j.try(t, r.name, to, midway...)
	o := w.outcome(t, before, s)
	o.judge(t, w, set, r)
}

// TestSocketOlderThanTheAgentIsRedirected has a socket made while there is no
// program on the machine.
func TestSocketOlderThanTheAgentIsRedirected(t *testing.T) {
	j := lab.newJob(t, "older-socket")
	must(t, lab.agent.stop())
	must(t, redirect.Uninstall(lab.agent.pins))
	var before moment
	s := j.try(t, "older-socket", target{Server4: lab.server4, Port: sealedPort}, func() {
		must(t, lab.agent.start())
		before = lab.look(t)
	})
	o := lab.outcome(t, before, s)
	o.judge(t, lab, "default", row{name: "older-socket", stops: hooks(redirected)})
}

// TestProcessInAnotherCgroupIsRedirected moves the attacker, as it could if it
// were able to write to the tree of cgroups.
func TestProcessInAnotherCgroupIsRedirected(t *testing.T) {
	j := lab.newJob(t, "moved-cgroup")
	j.try(t, "tcp", lab.target()) // the container runs when it answers
	own := filepath.Join(lab.agent.CgroupRoot(), cgroupOf(t, j.attacker(t)), "child")
	must(t, os.Mkdir(own, 0o755))
	t.Cleanup(func() { _ = os.Remove(own) }) // with the container, if not before
	elsewhere, err := netlab.NewCgroup("bypass")
	must(t, err)
	for name, dir := range map[string]string{"moved-cgroup": elsewhere.Path, "moved-cgroup (child)": own} {
		before := lab.look(t)
		s := j.try(t, "moved-cgroup", lab.target(), func() {
			must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(j.attacker(t))), 0))
		})
		o := lab.outcome(t, before, s)
		o.judge(t, lab, "default", row{name: name, stops: hooks(redirected)})
	}
	must(t, elsewhere.Close())
}

// attacker finds the youngest process of a job's attacker.
func (j *job) attacker(t testing.TB) int {
	t.Helper()
	out, err := output(t.Context(), j.world.engine.command("top", j.name, "-eo", "pid", "--sort", "start_time,pid")...)
	must(t, err)
	fields := strings.Fields(out)
	pid, err := strconv.Atoi(fields[len(fields)-1])
	must(t, err)
	return pid
}

// cgroupOf returns a process's cgroup v2.
func cgroupOf(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	t.Fatal("no cgroup v2")
	return ""
}

// TestSocketOfAnotherCgroupIsRedirected hands the job a socket that was made
// outside of it.
func TestSocketOfAnotherCgroupIsRedirected(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(lab.dir, "share", "hand-over"))
	must(t, err)
	defer l.Close()
	handed := make(chan error, 1)
	go func() { handed <- handOver(l) }()
	lab.stage(t, lab.newJob(t, "passed-socket"), "default", row{name: "passed-socket", stops: hooks(redirected)})
	must(t, <-handed)
}

func handOver(l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte("x"), unix.UnixRights(fd), nil)
	return err
}
