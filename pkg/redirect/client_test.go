package redirect_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// sockaddr is the address as a program of that family would write it: IPv4 in
// an IPv6 socket becomes ::ffff:a.b.c.d.
func sockaddr(family int, a netip.AddrPort) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(t testing.TB, sa unix.Sockaddr) netip.AddrPort {
	t.Helper()
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	t.Fatalf("unexpected address %T", sa)
	return netip.AddrPort{}
}

// socketIn makes a socket that stays in ns wherever it is used from. It is
// closed with the test, and must not be closed before: its number would be
// somebody else's by then.
func socketIn(t testing.TB, ns *netlab.Namespace, family, kind, protocol int) int {
	t.Helper()
	fd := -1
	must(t, ns.Do(func() (err error) {
		fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		return err
	}))
	closeLater(t, func() error { return unix.Close(fd) })
	return fd
}

// patient makes reads and connects of a socket fail instead of hanging.
func patient(t testing.TB, fd int) {
	t.Helper()
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
}

// refusedIn connects and returns how long the refusal took.
func refusedIn(t testing.TB, ns *netlab.Namespace, to netip.AddrPort) time.Duration {
	t.Helper()
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd := socketIn(t, ns, family, unix.SOCK_STREAM, 0)
	began := time.Now()
	if err := unix.Connect(fd, sockaddr(family, to)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect to %s = %v, want %v", to, err, unix.ECONNREFUSED)
	}
	return time.Since(began)
}

// wire is what arrives at the far end of a link, seen below every hook.
type wire struct{ fd int }

const ethPAll = 0x0003

// tap opens a capture of a link. Packets from now on are seen.
func tap(t testing.TB, ns *netlab.Namespace, link string) *wire {
	t.Helper()
	var w wire
	must(t, ns.Do(func() (err error) {
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(ethPAll))); err != nil {
			return err
		}
		l, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: htons(ethPAll), Ifindex: l.Index})
	}))
	closeLater(t, func() error { return unix.Close(w.fd) })
	patient(t, w.fd)
	return &w
}

// tapServer captures what the job sends to the server.
func (l *lab) tapServer(t testing.TB) *wire {
	t.Helper()
	return tap(t, l.server, "eth0")
}

// tapHost captures what the agent sends to the server.
func tapHost(t testing.TB, l *lab) *wire {
	t.Helper()
	return tap(t, l.server, fmt.Sprintf("slab%d", l.slice.Port))
}

// until returns the packets that satisfy want, up to the first that satisfies
// last.
func (w *wire) until(t testing.TB, last, want func(packet []byte) bool) (found [][]byte) {
	t.Helper()
	buffer := make([]byte, 65536)
	for {
		n, from, err := unix.Recvfrom(w.fd, buffer, 0)
		if err != nil {
			t.Fatalf("the last packet did not arrive: %v", err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		packet := append([]byte(nil), buffer[:n]...)
		if last(packet) {
			return found
		}
		if want(packet) {
			found = append(found, packet)
		}
	}
}

// to reports whether a packet is for an address and port, or for the address
// alone where it is a fragment.
func to(dst netip.AddrPort) func([]byte) bool {
	return func(p []byte) bool {
		switch {
		case len(p) >= 24 && p[0]>>4 == 4:
			at, _ := netip.AddrFromSlice(p[16:20])
			fragment := binary.BigEndian.Uint16(p[6:])&0x3fff != 0
			return at == dst.Addr() && (fragment || binary.BigEndian.Uint16(p[int(p[0]&15)*4+2:]) == dst.Port())
		case len(p) >= 44 && p[0]>>4 == 6:
			at, _ := netip.AddrFromSlice(p[24:40])
			return at == dst.Addr() && p[6] != unix.IPPROTO_ICMPV6 &&
				(p[6] != unix.IPPROTO_TCP && p[6] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(p[42:]) == dst.Port())
		}
		return false
	}
}

func htons(v uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v))
}

// syn is a TCP header that opens a connection, with a few bytes of payload.
func syn(port uint16) []byte {
	segment := make([]byte, 20, 28)
	binary.BigEndian.PutUint16(segment, 40000)
	binary.BigEndian.PutUint16(segment[2:], port)
	segment[12], segment[13] = 5<<4, 2
	return append(segment, "smuggled"[:]...)
}

// acknowledgement is a segment of an open connection, with its checksum
// (RFC 9293, section 3.1).
func acknowledgement(src, dst netip.AddrPort) []byte {
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment, src.Port())
	binary.BigEndian.PutUint16(segment[2:], dst.Port())
	segment[12], segment[13] = 5<<4, 0x10
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP, 0, byte(len(segment)))
	binary.BigEndian.PutUint16(segment[16:], checksum(pseudo, segment))
	return segment
}

// checksum is the Internet's (RFC 1071), of parts of even length.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	sum = sum&0xffff + sum>>16
	sum += sum >> 16
	return ^uint16(sum)
}

// ipv4 puts a header before a payload.
func ipv4(src, dst netip.Addr, protocol byte, fragment uint16, payload []byte) []byte {
	header := make([]byte, 20, 20+len(payload))
	header[0], header[8], header[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(header[6:], fragment)
	copy(header[12:], src.AsSlice())
	copy(header[16:], dst.AsSlice())
	return append(header, payload...)
}

// eventually waits for a condition that no event announces.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
