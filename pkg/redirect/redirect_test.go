package redirect_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConnectionArrivesWithItsRecord(t *testing.T) {
	l := newLab(t)
	mapped := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	for _, tc := range []struct {
		name     string
		family   int
		protocol int
		want     netip.AddrPort
		peer     netip.AddrPort // as getpeername shows it
	}{
		{"IPv4", unix.AF_INET, unix.IPPROTO_TCP, l.server4, l.server4},
		{"IPv6", unix.AF_INET6, unix.IPPROTO_TCP, l.server6, l.server6},
		{"IPv4 in IPv6", unix.AF_INET6, unix.IPPROTO_TCP, l.server4, mapped(l.server4)},
		{"multipath", unix.AF_INET, unix.IPPROTO_MPTCP, l.server4, netip.AddrPort{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fd := socketIn(t, l.job, tc.family, unix.SOCK_STREAM, tc.protocol)
			must(t, unix.Connect(fd, sockaddr(tc.family, tc.want)))
			got := l.accept(t).Origin
			if got.Destination != tc.want {
				t.Errorf("destination = %s, want %s", got.Destination, tc.want)
			}
			peer, err := unix.Getpeername(fd)
			must(t, err)
			if got := addrPort(t, peer); tc.peer.IsValid() && got != tc.peer {
				t.Errorf("getpeername = %s, want %s", got, tc.peer)
			}
		})
	}
}

// Data may travel with the SYN (RFC 7413), and no connect is called for it.
func TestFastOpenIsRedirected(t *testing.T) {
	l := newLab(t)
	for range 2 { // the second time the client may have a cookie
		fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0)
		must(t, unix.Sendto(fd, []byte("early"), unix.MSG_FASTOPEN, sockaddr(unix.AF_INET, l.server4)))
		a := l.accept(t)
		if a.Origin.Destination != l.server4 {
			t.Errorf("destination = %s, want %s", a.Origin.Destination, l.server4)
		}
		got := make([]byte, len("early"))
		_, err := io.ReadFull(a.Conn, got)
		must(t, err)
		if string(got) != "early" {
			t.Errorf("read %q, want %q", got, "early")
		}
	}
}

// The socket may be bound to an address that is not on loopback.
func TestBoundSocketIsRedirected(t *testing.T) {
	l := newLab(t)
	for family, from := range map[int]netip.Addr{unix.AF_INET: l.slice.Host4(1), unix.AF_INET6: l.slice.Host6(1)} {
		fd := socketIn(t, l.job, family, unix.SOCK_STREAM, 0)
		must(t, unix.Bind(fd, sockaddr(family, netip.AddrPortFrom(from, 0))))
		want := l.server4
		if family == unix.AF_INET6 {
			want = l.server6
		}
		must(t, unix.Connect(fd, sockaddr(family, want)))
		if got := l.accept(t).Origin.Destination; got != want {
			t.Errorf("destination = %s, want %s", got, want)
		}
	}
}

func TestAgentReachesTheServerThatWorkloadsCannot(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := l.dialServer(ctx, l.server4)
	must(t, err)
	defer func() { _ = conn.Close() }()
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	must(t, err)
	if host, _, err := net.SplitHostPort(greeting[:len(greeting)-1]); err != nil || host != l.slice.Host4(10).String() {
		t.Errorf("the server sees %q, want the agent's own address %s", greeting, l.slice.Host4(10))
	}
}

func TestUnprotectedPortOfTheSameHostIsUntouched(t *testing.T) {
	l := newLab(t)
	conn, err := dialFrom(t, l.job, "tcp4", netip.AddrPortFrom(l.server4.Addr(), openPort))
	must(t, err)
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	must(t, err)
	if greeting != conn.LocalAddr().String()+"\n" {
		t.Errorf("the server sees %q, want the job itself, %s", greeting, conn.LocalAddr())
	}
}
