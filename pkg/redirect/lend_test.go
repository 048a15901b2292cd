package redirect_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// TestListenersAndTheirEndsConnectNowhere plays a proxy that somebody took over:
// it holds sockets of jobs' namespaces, and tries to reach what listens on
// loopback there.
func TestListenersAndTheirEndsConnectNowhere(t *testing.T) {
	l := newLab(t)
	var service netip.AddrPort
	must(t, l.job.Do(func() error {
		own, err := net.Listen("tcp4", "127.0.0.1:0")
		if err == nil {
			service = own.Addr().(*net.TCPAddr).AddrPort()
			closeLater(t, own.Close)
		}
		return err
	}))
	to := sockaddr(unix.AF_INET, service)
	must(t, unix.Connect(socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0), to)) // the control

	conn, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	accepted := l.accept(t)
	raw, err := accepted.Conn.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		must(t, disconnect(int(fd)))
		if err := unix.Connect(int(fd), to); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("what was accepted connects: %v", err)
		}
	}))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("it is still connected to its client") // the control
	}

	listeners := 0
	must(t, l.agent.EachListening(func(ns redirect.Listening) error {
		if ns.Cookie != accepted.Origin.NetnsCookie {
			return nil
		}
		for _, fd := range ns.Descriptors[1:] {
			listeners++
			must(t, unix.Shutdown(fd, unix.SHUT_RDWR))
			where := to
			if at, err := unix.Getsockname(fd); err != nil || addrPort(t, at).Addr().Is6() {
				where = sockaddr(unix.AF_INET6, netip.AddrPortFrom(netip.IPv6Loopback(), service.Port()))
			}
			if err := unix.Connect(fd, where); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("a listener connects: %v", err)
			}
		}
		return nil
	}))
	if listeners == 0 {
		t.Error("there is no listener")
	}
}

// TestLentListenersAreNotAcceptedFrom lends and takes back, with connections
// coming all the time: each is accepted, by whoever it is up to.
func TestLentListenersAreNotAcceptedFrom(t *testing.T) {
	l := newLab(t)
	for range 3 {
		must(t, l.agent.Lend(true))
		conn, err := dialFrom(t, l.job, "tcp4", l.server4)
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("somebody took it: %v", err)
		}
		must(t, l.agent.Lend(false))
		must(t, l.accept(t).Conn.Close())
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("a connection that nobody said has ended well ends with %v", err)
		}
	}
}

// TestShutListenerIsMadeAgain plays a proxy that does harm and dies.
func TestShutListenerIsMadeAgain(t *testing.T) {
	l := newLab(t)
	_, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
	must(t, l.agent.Lend(true))
	must(t, l.agent.EachListening(func(ns redirect.Listening) error {
		for _, fd := range ns.Descriptors[1:] {
			must(t, unix.Shutdown(fd, unix.SHUT_RDWR))
		}
		return nil
	}))
	must(t, l.agent.Lend(false)) // an accept loop that has not come to rest may be faster
	until(t, func() bool {
		_, err := dialFrom(t, l.job, "tcp4", l.server4)
		return err == nil
	})
	l.accept(t)
}

// TestRecordsAreReadOnly reads a record as a proxy does, and writes none.
func TestRecordsAreReadOnly(t *testing.T) {
	l := newLab(t)
	files, err := l.agent.OpenRecords()
	must(t, err)
	records := redirect.NewRecords(files, l.agent.Booted())
	closeLater(t, records.Close)
	if !records.Readable() {
		t.Error("nothing can be read")
	}
	_, err = dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	a := l.accept(t)
	if got, err := records.Of(a.Conn, a.Origin.NetnsCookie); err != nil || !reflect.DeepEqual(got, a.Origin) {
		t.Errorf("read %+v, %v, want %+v", got, err, a.Origin)
	}
	if got, err := records.Of(a.Conn, a.Origin.NetnsCookie+1); err == nil || redirect.Unserved(err, got, 1).Kind != redirect.AlertWrongNamespace {
		t.Errorf("through another namespace's listener: %v", err)
	}
	other, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	closeLater(t, other.Close)
	client, err := net.Dial("tcp4", other.Addr().String())
	must(t, err)
	closeLater(t, client.Close)
	if got, err := records.Of(client.(*net.TCPConn), 1); err == nil || redirect.Unserved(err, got, 1).Kind != redirect.AlertNoRecord {
		t.Errorf("of a connection that has none: %v", err)
	}
	for _, file := range []*os.File{files.Origins, files.Lineages} {
		if err := writeRecord(int(file.Fd())); !errors.Is(err, unix.EPERM) {
			t.Errorf("writing gives %v", err)
		}
	}
}
