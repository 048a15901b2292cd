package redirect_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// sentinel sends a packet that is allowed, so that a capture knows when all
// that was sent before it must have arrived.
func (l *lab) sentinel(t testing.TB) func([]byte) bool {
	t.Helper()
	end := netip.AddrPortFrom(l.server4.Addr(), 9)
	fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(t, unix.Sendto(fd, []byte("end"), 0, sockaddr(unix.AF_INET, end)))
	return to(end)
}

func TestRawPacketsToProtectedDestinationNeverLeave(t *testing.T) {
	l := newLab(t)
	job, server := l.slice.Host4(1), l.server4.Addr()
	open := syn(openPort)
	udp := make([]byte, 8)
	binary.BigEndian.PutUint16(udp[2:], protectedPort)
	const moreFragments = 0x2000
	for _, tc := range []struct {
		name   string
		packet []byte
		passes bool
	}{
		{"SYN", ipv4(job, server, unix.IPPROTO_TCP, 0, syn(protectedPort)), false},
		{"SYN to another port", ipv4(job, server, unix.IPPROTO_TCP, 0, open), true},
		{"datagram", ipv4(job, server, unix.IPPROTO_UDP, 0, udp), false},
		{"first fragment", ipv4(job, server, unix.IPPROTO_TCP, moreFragments, open), false},
		{"later fragment", ipv4(job, server, unix.IPPROTO_TCP, 1, open), false},
		{"unknown protocol", ipv4(job, server, unix.IPPROTO_SCTP, 0, syn(protectedPort)), false},
		{"too short for a port", ipv4(job, server, unix.IPPROTO_TCP, 0, []byte{1, 2}), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wire, before := l.tapServer(t), l.dropped(t)
			fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
			err := unix.Sendto(fd, tc.packet, 0, sockaddr(unix.AF_INET, l.server4))
			if (err == nil) != tc.passes {
				t.Errorf("sendto = %v, want success: %t", err, tc.passes)
			}
			any := func(p []byte) bool {
				return len(p) >= 20 && p[0]>>4 == 4 && p[9] == tc.packet[9] && p[9] != unix.IPPROTO_ICMP
			}
			arrived := len(wire.until(t, l.sentinel(t), any)) > 0
			if arrived != tc.passes {
				t.Errorf("arrived at the server: %t, want %t", arrived, tc.passes)
			}
			if counted := l.dropped(t) > before; counted == tc.passes {
				t.Errorf("counted as dropped: %t, want %t", counted, !tc.passes)
			}
		})
	}
	if alert := l.wantAlert(t, redirect.AlertDropped); alert.Destination != l.server4 || alert.CgroupID == 0 {
		t.Errorf("alert = %+v, want one about %s with the sender's cgroup", alert, l.server4)
	}
}

// dropped is how many packets the egress hook dropped.
func (l *lab) dropped(t testing.TB) uint64 {
	t.Helper()
	return l.counter(t, "egress_dropped") + l.counter(t, "egress_dropped_no_port") +
		l.counter(t, "egress_dropped_route")
}

func TestRawIPv6PacketsToProtectedDestinationNeverLeave(t *testing.T) {
	l := newLab(t)
	wire := l.tapServer(t)
	for _, protocol := range []int{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_DSTOPTS} {
		fd := socketIn(t, l.job, unix.AF_INET6, unix.SOCK_RAW, protocol)
		destination := sockaddr(unix.AF_INET6, netip.AddrPortFrom(l.server6.Addr(), 0))
		if err := unix.Sendto(fd, syn(protectedPort), 0, destination); err == nil {
			t.Errorf("protocol %d: sendto = nil, want an error", protocol)
		}
	}
	if got := wire.until(t, l.sentinel(t), to(l.server6)); len(got) > 0 {
		t.Errorf("%d packets arrived at the server, want none; the first is %x", len(got), got[0])
	}
}

// A connection that is older than its destination's protection must fall
// silent: nothing that the job writes arrives.
func TestConnectionOlderThanProtectionFallsSilent(t *testing.T) {
	l := newLab(t)
	must(t, l.agent.Protect(nil))
	conn, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	greeting := make([]byte, 64)
	_, err = conn.Read(greeting)
	must(t, err)

	// It must not outlive this test, trying again and again.
	must(t, conn.(*net.TCPConn).SetLinger(0))

	must(t, l.agent.Protect(l.destinations()))
	wire := l.tapServer(t)
	_, err = conn.Write([]byte("smuggled"))
	must(t, err)
	l.wantAlert(t, redirect.AlertDropped)
	if got := wire.until(t, l.sentinel(t), to(l.server4)); len(got) > 0 {
		t.Errorf("%d packets arrived at the server, want none; the first is %x", len(got), got[0])
	}
}

// The kernel answers for the agent's sockets that are gone. Were that dropped,
// a dead agent's connections would stay open at the server.
func TestServerLearnsThatTheAgentsSocketIsGone(t *testing.T) {
	l := newLab(t)
	conn, err := l.dialServer(t.Context(), l.server4)
	must(t, err)
	wire := tapHost(t, l)
	_, err = conn.Write([]byte("x"))
	must(t, err)
	must(t, conn.CloseRead())
	must(t, conn.Close()) // the echo meets a closed socket
	wire.until(t, isReset, func([]byte) bool { return false })
	if got := l.counter(t, "egress_dropped"); got != 0 {
		t.Errorf("egress_dropped = %d, want 0: an alarm about the agent itself", got)
	}
}

// So is the reset that answers a server whose connection nobody has any more,
// as after the agent was killed.
func TestServerLearnsThatNobodyHasItsConnection(t *testing.T) {
	l := newLab(t)
	wire := tapHost(t, l)
	fd := socketIn(t, l.server, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	host := netip.AddrPortFrom(l.slice.Host4(10), 40000)
	segment := acknowledgement(l.server4, host)
	must(t, unix.Sendto(fd, ipv4(l.server4.Addr(), host.Addr(), unix.IPPROTO_TCP, 0, segment), 0, sockaddr(unix.AF_INET, host)))
	wire.until(t, isReset, func([]byte) bool { return false })
	if got := l.counter(t, "egress_kernel_reply"); got != 1 {
		t.Errorf("egress_kernel_reply = %d, want 1", got)
	}
}

func isReset(p []byte) bool {
	return len(p) >= 40 && p[0]>>4 == 4 && p[9] == unix.IPPROTO_TCP && p[33]&4 != 0
}

// wantAlert waits for an alert of a kind.
func (l *lab) wantAlert(t testing.TB, kind redirect.AlertKind) redirect.Alert {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case a := <-l.agent.Alerts():
			if a.Kind == kind {
				return a
			}
		case <-deadline:
			t.Fatalf("no alert of kind %s", kind)
		}
	}
}
