package redirect_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

// perNamespace is PASSAGES_PER_NETNS in bpf/maps.h.
const perNamespace = 4096

// asksPerCgroup is ENROLMENTS_PER_CGROUP in bpf/maps.h.
const asksPerCgroup = 256

// namespacesPerOwner is the limit of the same name in owner.go.
const namespacesPerOwner = 256

func TestOneNamespaceCannotTakeEveryRecordsPlace(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t) // it does not run yet, so that every SYN is held
	l.pretendAlive(t)
	const tooMany = 3
	sockets := l.crowd(t, l.job, perNamespace+tooMany)
	if got := l.counter(t, "record_published"); got != perNamespace {
		t.Errorf("record_published = %d, want %d", got, perNamespace)
	}
	if got := l.counter(t, "record_no_room"); got != tooMany {
		t.Errorf("record_no_room = %d, want %d", got, tooMany)
	}
	l.crowd(t, newNamespace(t), 1)
	if got := l.counter(t, "record_published"); got != perNamespace+1 {
		t.Errorf("record_published = %d after a connect elsewhere, want %d", got, perNamespace+1)
	}

	for _, fd := range sockets {
		must(t, unix.Shutdown(fd, unix.SHUT_RDWR))
	}
	if got := l.counter(t, "record_abandoned"); got != perNamespace {
		t.Errorf("record_abandoned = %d, want %d", got, perNamespace)
	}
	l.runAgent(t) // which beats again
	_, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
}

// A job that makes namespaces by the thousand harms itself.
func TestOneOwnerCannotTakeEveryNamespace(t *testing.T) {
	l := newLab(t)
	served := 1 // the agent listens in its own, which is this owner's too
	for {
		ns := newNamespace(t)
		inhabit(t, ns)
		_, err := dialFrom(t, ns, "tcp4", l.server4)
		if errors.Is(err, unix.ECONNREFUSED) {
			break
		}
		must(t, err)
		l.accept(t)
		served++
	}
	if served != namespacesPerOwner {
		t.Errorf("listeners in %d namespaces, want %d", served, namespacesPerOwner)
	}
	l.wantAlert(t, redirect.AlertTooManyNamespaces)
	if got := l.counter(t, "namespaces_refused"); got == 0 {
		t.Error("namespaces_refused = 0")
	}

	other, err := netlab.NewCgroup("redirect")
	must(t, err)
	closeLater(t, other.Close)
	end := startClient(t, l.job, other, l.server4)
	defer end()
	l.accept(t)
}

// Asking alone must not fill the map that everybody's namespaces are in.
func TestOneCgroupCannotAskForEveryNamespace(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t) // it does not run, so that nobody is answered
	l.pretendAlive(t)
	const left, tooMany = 6, 4
	var crowd []int
	for range left + tooMany {
		crowd = append(crowd, socketIn(t, newNamespace(t), unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0))
	}
	l.pretendAsked(t, asksPerCgroup-left)
	for _, fd := range crowd {
		_ = unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)) // the counters tell
	}
	if got := l.counter(t, "connect_held"); got != left {
		t.Errorf("connect_held = %d, want %d", got, left)
	}
	if got := l.counter(t, "connect_refused_quota"); got != tooMany {
		t.Errorf("connect_refused_quota = %d, want %d", got, tooMany)
	}
}

// pretendAsked writes that this cgroup asked so often just now: to ask as often
// takes a slow machine longer than what counts.
func (l *lab) pretendAsked(t testing.TB, times uint32) {
	t.Helper()
	rates, err := ebpf.LoadPinnedMap(filepath.Join(l.pins, "maps", "enrolment_rates"), nil)
	must(t, err)
	defer func() { must(t, rates.Close()) }()
	must(t, rates.Put(ownCgroup(t, l.agent.CgroupRoot()), enrolmentRate{Since: monotonic(t), Asked: times}))
}

// enrolmentRate is struct enrolment_rate of bpf/maps.h.
type enrolmentRate struct {
	Since uint64
	Asked uint32
	_     uint32
}

func monotonic(t testing.TB) uint64 {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	return uint64(now.Nano())
}

// ownCgroup is the id of the cgroup v2 that the test is in.
func ownCgroup(t testing.TB, root string) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			var st unix.Stat_t
			must(t, unix.Stat(filepath.Join(root, strings.TrimSpace(path)), &st))
			return st.Ino
		}
	}
	t.Fatal("the test is in no cgroup v2")
	return 0
}

// pretendAlive writes a heartbeat of the future: a slow machine takes longer
// than a second for what follows.
func (l *lab) pretendAlive(t testing.TB) {
	t.Helper()
	control, err := ebpf.LoadPinnedMap(filepath.Join(l.pins, "maps", "agent_control"), nil)
	must(t, err)
	defer func() { must(t, control.Close()) }()
	state, err := control.LookupBytes(uint32(0))
	must(t, err)
	binary.NativeEndian.PutUint64(state, math.MaxUint64) // heartbeat_ns comes first
	must(t, control.Put(uint32(0), state))
}

// crowd begins connects that do not end.
func (l *lab) crowd(t testing.TB, ns *netlab.Namespace, n int) []int {
	t.Helper()
	var sockets []int
	t.Cleanup(func() {
		for _, fd := range sockets {
			_ = unix.Close(fd)
		}
	})
	must(t, ns.Do(func() error {
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return err
			}
			sockets = append(sockets, fd)
			if err := unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)); !errors.Is(err, unix.EINPROGRESS) {
				return err
			}
		}
		return nil
	}))
	return sockets
}
