package redirect_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDatagramsToProtectedDestinationAreRefused(t *testing.T) {
	l := newLab(t)
	for _, tc := range []struct {
		name   string
		family int
		to     netip.AddrPort
	}{
		{"IPv4", unix.AF_INET, l.server4},
		{"IPv6", unix.AF_INET6, l.server6},
		{"IPv4 in IPv6", unix.AF_INET6, l.server4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fd := socketIn(t, l.job, tc.family, unix.SOCK_DGRAM, 0)
			if err := unix.Sendto(fd, []byte("x"), 0, sockaddr(tc.family, tc.to)); !errors.Is(err, unix.EPERM) {
				t.Errorf("sendto = %v, want %v", err, unix.EPERM)
			}
			if err := unix.Connect(fd, sockaddr(tc.family, tc.to)); !errors.Is(err, unix.EPERM) {
				t.Errorf("connect = %v, want %v", err, unix.EPERM)
			}
			open := netip.AddrPortFrom(tc.to.Addr(), openPort)
			if err := unix.Sendto(fd, []byte("x"), 0, sockaddr(tc.family, open)); err != nil {
				t.Errorf("sendto an unprotected port = %v, want nil", err)
			}
		})
	}
}

func TestMarkedSocketIsRedirectedLikeAnyOther(t *testing.T) {
	l := newLab(t)
	for _, mark := range []int{1, 0x539, 0xca12, -1} {
		fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0)
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark))
		must(t, unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)))
		if got := l.accept(t).Origin.Destination; got != l.server4 {
			t.Errorf("mark %#x: destination = %s, want %s", mark, got, l.server4)
		}
	}
}

func TestSocketBoundToDeviceIsRefusedAtOnce(t *testing.T) {
	l := newLab(t)
	fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0)
	must(t, unix.BindToDevice(fd, "eth0"))
	if err := unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect = %v, want %v", err, unix.ECONNREFUSED)
	}
	must(t, unix.BindToDevice(fd, ""))
	must(t, unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)))
	l.accept(t)
}

func TestListenerCannotBeReachedDirectly(t *testing.T) {
	l := newLab(t)
	_, err := dialFrom(t, l.job, "tcp4", l.server4) // the listeners are there now
	must(t, err)
	l.accept(t)
	for _, addr := range []string{
		"127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0",
	} {
		refusedIn(t, l.job, netip.AddrPortFrom(netip.MustParseAddr(addr), l.slice.Port))
	}
	if got := l.counter(t, "connect_refused_listener"); got != 7 {
		t.Errorf("connect_refused_listener = %d, want 7", got)
	}
}

func TestListenersPortCannotBeBound(t *testing.T) {
	l := newLab(t) // no listener in the job's namespace yet: nothing but the hook refuses
	for _, addr := range []string{"127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"} {
		at := netip.MustParseAddr(addr)
		family := unix.AF_INET
		if at.Is6() {
			family = unix.AF_INET6
		}
		for _, protocol := range []int{unix.IPPROTO_TCP, unix.IPPROTO_MPTCP} {
			fd := socketIn(t, l.job, family, unix.SOCK_STREAM, protocol)
			must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
			err := unix.Bind(fd, sockaddr(family, netip.AddrPortFrom(at, l.slice.Port)))
			if !errors.Is(err, unix.EPERM) {
				t.Errorf("protocol %d: bind %s = %v, want %v", protocol, addr, err, unix.EPERM)
			}
			if err := unix.Bind(fd, sockaddr(family, netip.AddrPortFrom(at, l.slice.Port+1000))); err != nil {
				t.Errorf("protocol %d: bind %s to another port = %v, want nil", protocol, addr, err)
			}
		}
	}
}

// A socket that asked for a protected destination, disconnected and connected
// elsewhere must not be believed to have asked for the first.
func TestStaleRecordIsNotBelieved(t *testing.T) {
	l := newLab(t)
	fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0)
	must(t, unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)))
	l.accept(t)
	must(t, disconnect(fd))

	open := netip.AddrPortFrom(l.server4.Addr(), openPort)
	// Each record that leaves is of a connect that was redirected. The agent's own
	// probes are counted as well, so that neither number stands still.
	redirected := l.counter(t, "connect_redirected")
	published := l.counter(t, "record_published")
	must(t, unix.Connect(fd, sockaddr(unix.AF_INET, open)))
	left := l.counter(t, "record_published") - published
	if probes := l.counter(t, "connect_redirected") - redirected; left > probes {
		t.Error("the record of the first connect left with the SYN of the second")
	}
	peer, err := unix.Getpeername(fd)
	must(t, err)
	if got := addrPort(t, peer); got != open {
		t.Errorf("after reconnecting, getpeername = %s, want %s", got, open)
	}
	must(t, disconnect(fd))
	listener := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.slice.Port)
	if err := unix.Connect(fd, sockaddr(unix.AF_INET, listener)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect to the listener = %v, want %v", err, unix.ECONNREFUSED)
	}

	must(t, unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)))
	if got := l.accept(t).Origin.Destination; got != l.server4 {
		t.Errorf("after all that, destination = %s, want %s", got, l.server4)
	}
}

// disconnect is connect with AF_UNSPEC, which unix.Connect cannot say.
func disconnect(fd int) error {
	var unspecified unix.RawSockaddrInet4
	return rawConnect(fd, &unspecified)
}
