package redirect_test

import (
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
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
	const tooMany = 4
	var crowd []*netlab.Namespace
	for range asksPerCgroup + tooMany {
		crowd = append(crowd, newNamespace(t))
	}
	for _, ns := range crowd {
		fd := socketIn(t, ns, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		_ = unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)) // the counters tell
	}
	if got := l.counter(t, "connect_held"); got != asksPerCgroup {
		t.Errorf("connect_held = %d, want %d", got, asksPerCgroup)
	}
	if got := l.counter(t, "connect_refused_quota"); got != tooMany {
		t.Errorf("connect_refused_quota = %d, want %d", got, tooMany)
	}
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
