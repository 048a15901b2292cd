package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// listeners attack the agent's listener in the job's own network namespace.
func listeners() []technique {
	var (
		loopback = netip.MustParseAddr("127.0.0.1")
		any4     = netip.IPv4Unspecified()
		any6     = netip.IPv6Unspecified()
	)
	return []technique{
		{"listener", reach(unix.AF_INET, 0, loopback)},
		{"listener-other-loopback", reach(unix.AF_INET, 0, netip.MustParseAddr("127.0.0.2"))},
		{"listener-any", reach(unix.AF_INET, 0, any4)},
		{"listener-ipv6", reach(unix.AF_INET6, 0, netip.IPv6Loopback())},
		{"listener-mapped", reach(unix.AF_INET6, 0, loopback)},
		{"listener-mptcp", reach(unix.AF_INET, unix.IPPROTO_MPTCP, loopback)},
		{"listener-stale-record", staleRecord},
		{"listener-replayed-tuple", replayedTuple},
		{"listener-raw-handshake", rawHandshake},
		{"bind-reuseport", take(unix.AF_INET, 0, loopback)},
		{"bind-any", take(unix.AF_INET, 0, any4)},
		{"bind-any-ipv6", take(unix.AF_INET6, 0, any6)},
		{"bind-mapped", take(unix.AF_INET6, 0, loopback)},
		{"bind-other-loopback", take(unix.AF_INET, 0, netip.MustParseAddr("127.0.0.2"))},
		{"bind-mptcp", take(unix.AF_INET, unix.IPPROTO_MPTCP, loopback)},
		{"port-range-sysctl", portRangeSysctl},
		{"port-range-socket", portRangeSocket},
	}
}

// reach connects to the listener without asking for a protected destination.
func reach(family, protocol int, addr netip.Addr) func(target) seen {
	return stream(family, protocol, func(to target) (netip.Addr, uint16) { return addr, to.Listener })
}

// staleRecord has a record on its socket from an earlier connect.
func staleRecord(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	for _, port := range []uint16{to.Port, to.Open} {
		if err := unix.Connect(fd, at(unix.AF_INET, to.Server4, port)); err != nil {
			return saw("first connect", err)
		}
		if err := disconnect(fd); err != nil {
			return saw("disconnect", err)
		}
	}
	return listenerAnswer(talk(fd, at(unix.AF_INET, netip.MustParseAddr("127.0.0.1"), to.Listener)))
}

// replayedTuple comes from the port of a connection that had a record.
func replayedTuple(to target) seen {
	first, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if got := talk(first, at(unix.AF_INET, to.Server4, to.Port)); got.Gained {
		return got
	}
	source, err := unix.Getsockname(first)
	if err != nil {
		return saw("getsockname", err)
	}
	_ = unix.Close(first) // with a reset, so that the port is free
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.Bind(fd, source); err != nil {
		return saw("bind", err)
	}
	return listenerAnswer(talk(fd, at(unix.AF_INET, netip.MustParseAddr("127.0.0.1"), to.Listener)))
}

// rawHandshake speaks TCP to the listener by itself, past connect, while a rule
// keeps the kernel from resetting what it knows nothing of.
func rawHandshake(to target) seen {
	rule := fmt.Sprintf("OUTPUT -p tcp --sport %d --tcp-flags RST RST -j DROP", rawTCP)
	if err := steps("iptables -w -A " + rule); err != nil {
		return seen{Saw: err.Error()}
	}
	defer func() { _ = steps("iptables -w -D " + rule) }()
	fd, err := open(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP)
	if err != nil {
		return saw("", err)
	}
	self := netip.MustParseAddr("127.0.0.1")
	send := func(flags byte, seq, ack uint32, text string) error {
		return unix.Sendto(fd, segment(self, self, rawTCP, to.Listener, flags, seq, ack, text), 0, at(unix.AF_INET, self, 0))
	}
	if err := send(tcpSyn, 1, 0, ""); err != nil {
		return saw("sendto", err)
	}
	for packet := make([]byte, 2048); ; {
		n, _, err := unix.Recvfrom(fd, packet, 0)
		if err != nil {
			return saw("handshake", err)
		}
		s := packet[int(packet[0]&15)*4 : n]
		switch {
		case len(s) < 20 || portOf(s) != rawTCP:
		case s[13]&tcpRst != 0:
			return seen{Saw: "handshake: reset by the listener"}
		case s[13]&tcpSyn != 0:
			if err := send(tcpAck, 2, binary.BigEndian.Uint32(s[4:])+1, payload); err != nil {
				return saw("sendto", err)
			}
		case len(s) > int(s[12]>>4)*4:
			return seen{Saw: "the listener speaks", Gained: true}
		}
	}
}

// listenerAnswer: whoever answers at the listener, it should not have.
func listenerAnswer(s seen) seen {
	if s.Saw == "answered by agent" {
		s.Gained = true
	}
	return s
}

// take wants the listener's port for itself.
func take(family, protocol int, addr netip.Addr) func(target) seen {
	return func(to target) seen {
		fd, err := open(family, unix.SOCK_STREAM, protocol)
		if err != nil {
			return saw("", err)
		}
		for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
				return saw("setsockopt", err)
			}
		}
		if err := unix.Bind(fd, at(family, addr, to.Listener)); err != nil {
			return saw("bind", err)
		}
		return seen{Saw: "it has the listener's port", Gained: true}
	}
}

// portRangeSysctl makes the kernel pick the listener's port.
func portRangeSysctl(to target) seen {
	only := fmt.Sprintf("%d %d", to.Listener, to.Listener)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(only), 0); err != nil {
		return saw("sysctl", err)
	}
	return autobind(to, nil)
}

// portRangeSocket does so for one socket (IP_LOCAL_PORT_RANGE, Linux 6.3).
func portRangeSocket(to target) seen {
	const ipLocalPortRange = 51
	return autobind(to, &option{unix.SOL_IP, ipLocalPortRange, int(to.Listener)<<16 | int(to.Listener)})
}

func autobind(to target, extra *option) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if extra != nil {
		if err := unix.SetsockoptInt(fd, extra.level, extra.name, extra.value); err != nil {
			return saw("setsockopt", err)
		}
	}
	if err := unix.Listen(fd, 1); err != nil {
		return saw("listen", err)
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		return saw("getsockname", err)
	}
	if in, ok := got.(*unix.SockaddrInet4); ok && in.Port == int(to.Listener) {
		return seen{Saw: "it has the listener's port", Gained: true}
	}
	return seen{Saw: "listen: another port"}
}
