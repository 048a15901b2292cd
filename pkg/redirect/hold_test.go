package redirect_test

import (
	"bufio"
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

// atOnce is how fast a refusal must be.
const atOnce = 50 * time.Millisecond

func TestFirstConnectionOfFreshNamespaceIsServed(t *testing.T) {
	l := newLab(t)
	const namespaces = 25
	for range namespaces {
		_, err := dialFrom(t, newNamespace(t), "tcp4", l.server4)
		must(t, err)
		if got := l.accept(t).Origin.Destination; got != l.server4 {
			t.Errorf("destination = %s, want %s", got, l.server4)
		}
	}
	if got := l.counter(t, "connect_held"); got < namespaces {
		t.Errorf("connect_held = %d, want at least %d: what was tested was not the hold", got, namespaces)
	}
}

// Docker gives a container ::1 after 127.0.0.1, and so perhaps after its
// namespace was enrolled.
func TestIPv6ThatComesLaterIsServed(t *testing.T) {
	l := newLab(t)
	const off = "/proc/sys/net/ipv6/conf/lo/disable_ipv6" // of the thread's namespace
	ns := newNamespace(t)
	must(t, ns.Do(func() error { return os.WriteFile(off, []byte("1"), 0) }))
	_, err := dialFrom(t, ns, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
	must(t, ns.Do(func() error { return os.WriteFile(off, []byte("0"), 0) }))
	_, err = dialFrom(t, ns, "tcp6", l.server6)
	must(t, err)
	if got := l.accept(t).Origin.Destination; got != l.server6 {
		t.Errorf("destination = %s, want %s", got, l.server6)
	}
}

// A socket's namespace need not be that of the process that connects it.
func TestConnectionThroughForeignSocketIsServed(t *testing.T) {
	l := newLab(t)
	fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0)
	must(t, unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)))
	if got := l.accept(t).Origin.Destination; got != l.server4 {
		t.Errorf("destination = %s, want %s", got, l.server4)
	}
}

func TestNamespaceThatCannotBeFoundIsRefused(t *testing.T) {
	l := newLab(t)
	empty := newNamespace(t)       // no process is in it
	refusedIn(t, empty, l.server4) // as soon as the search has ended
	alert := l.wantAlert(t, redirect.AlertUnknownNamespace)
	if alert.NetnsCookie == 0 {
		t.Errorf("alert = %+v, want one that names the namespace", alert)
	}
	if took := refusedIn(t, empty, l.server4); took > atOnce {
		t.Errorf("the next connect was refused after %s, want at most %s", took, atOnce)
	}
}

func TestNothingReachesProtectedDestinationAfterAgentClosed(t *testing.T) {
	l := newLab(t)
	_, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
	l.stop()
	must(t, l.agent.Close())
	for name, ns := range map[string]*netlab.Namespace{"ready": l.job, "fresh": newNamespace(t)} {
		for _, to := range []netip.AddrPort{l.server4, l.server6} {
			if took := refusedIn(t, ns, to); took > atOnce {
				t.Errorf("%s namespace: %s was refused after %s, want at most %s", name, to, took, atOnce)
			}
		}
	}
	_, err = dialFrom(t, l.job, "tcp4", netip.AddrPortFrom(l.server4.Addr(), openPort))
	must(t, err)
}

func TestNothingReachesProtectedDestinationAfterAgentWasKilled(t *testing.T) {
	l := newNetwork(t)
	l.pins = t.TempDir() + "/pins"
	closeLater(t, func() error { return redirect.Uninstall(l.pins) })
	agent := l.startAgentProcess(t)
	client := startClient(t, l.job, nil, l.server4)
	must(t, agent.Process.Kill())
	_ = agent.Wait() // reports the kill
	client()

	if took := refusedIn(t, l.job, l.server4); took > atOnce {
		t.Errorf("ready namespace, heartbeat fresh: refused after %s, want at most %s", took, atOnce)
	}
	l.waitForStaleHeartbeat(t)
	for name, ns := range map[string]*netlab.Namespace{"ready": l.job, "fresh": newNamespace(t)} {
		if took := refusedIn(t, ns, l.server4); took > atOnce {
			t.Errorf("%s namespace: refused after %s, want at most %s", name, took, atOnce)
		}
	}

	l.openAgent(t)
	l.runAgent(t)
	_, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
}

// startAgentProcess starts an agent in a process of its own, and waits until it
// runs.
func (l *lab) startAgentProcess(t testing.TB) *exec.Cmd {
	t.Helper()
	cmd, err := play("agent", l.pins, strconv.Itoa(int(l.slice.Port)), l.server4.String())
	must(t, err)
	start(t, cmd, cmd.Start, "running")
	return cmd
}

// waitForStaleHeartbeat waits until the programs know that the agent is dead.
func (l *lab) waitForStaleHeartbeat(t testing.TB) {
	t.Helper()
	control, err := ebpf.LoadPinnedMap(filepath.Join(l.pins, "maps", "agent_control"), nil)
	must(t, err)
	defer func() { _ = control.Close() }()
	value, err := control.LookupBytes(uint32(0))
	must(t, err)
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	age := time.Duration(uint64(now.Nano()) - binary.NativeEndian.Uint64(value))
	<-time.After(time.Second - age)
}

// start starts a command and waits until it says word.
func start(t testing.TB, cmd *exec.Cmd, run func() error, word string) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, run())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // tests may have done so themselves
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	if line != word+"\n" {
		t.Fatalf("the program said %q, want %q", line, word)
	}
}

// startClient starts an unmodified program that connects from a namespace, and
// a cgroup unless nil. What it returns ends the program.
func startClient(t testing.TB, ns *netlab.Namespace, cgroup *netlab.Cgroup, to netip.AddrPort) (end func()) {
	t.Helper()
	cmd, err := play("client", to.String())
	must(t, err)
	if cgroup != nil {
		cgroup.Enter(cmd)
	}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	start(t, cmd, func() error { return ns.Start(cmd) }, "connected")
	return func() {
		must(t, stdin.Close())
		must(t, cmd.Wait())
	}
}
