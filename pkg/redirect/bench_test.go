package redirect_test

import (
	"context"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkConnect measures one connect and close over a veth pair: without
// programs, with programs to a destination that is not protected, and to one
// that is, until the agent holds the connection and its record.
func BenchmarkConnect(b *testing.B) {
	b.Run("none", func(b *testing.B) {
		l := newNetwork(b)
		l.connectTimes(b, netip.AddrPortFrom(l.server4.Addr(), openPort))
	})
	b.Run("unprotected", func(b *testing.B) {
		l := newLab(b)
		l.connectTimes(b, netip.AddrPortFrom(l.server4.Addr(), openPort))
	})
	b.Run("protected", func(b *testing.B) {
		l := newLab(b)
		go l.acceptAll()
		l.connectTimes(b, l.server4)
	})
}

func (l *lab) connectTimes(b *testing.B, to netip.AddrPort) {
	b.Helper()
	peer := sockaddr(unix.AF_INET, to)
	must(b, l.job.Do(func() error {
		for b.Loop() {
			if err := connectAndReset(peer); err != nil {
				return err
			}
		}
		return nil
	}))
}

// connectAndReset leaves no socket in TIME_WAIT: ports would run out.
func connectAndReset(to unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // reset, whatever it says
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	return unix.Connect(fd, to)
}

// acceptAll takes what comes until the agent closes.
func (l *lab) acceptAll() {
	for {
		a, err := l.agent.Accept(context.Background())
		if err != nil {
			return
		}
		_ = a.Conn.Close() // the client has reset it
	}
}
