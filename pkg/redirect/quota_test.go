package redirect_test

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// perNamespace is PASSAGES_PER_NETNS in bpf/maps.h.
const perNamespace = 4096

func TestOneNamespaceCannotTakeEveryRecordsPlace(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t) // it does not run yet, so that every SYN is held
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
	l.runAgent(t)
	_, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
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
