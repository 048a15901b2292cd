package main

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// streams are the ways to open a TCP connection.
func streams() []technique {
	const tcp, mptcp = unix.IPPROTO_TCP, unix.IPPROTO_MPTCP
	return []technique{
		{"tcp", stream(unix.AF_INET, tcp, v4)},
		{"tcp-ipv6", stream(unix.AF_INET6, tcp, v6)},
		{"tcp-mapped", stream(unix.AF_INET6, tcp, v4)},
		{"mptcp", stream(unix.AF_INET, mptcp, v4)},
		{"mptcp-ipv6", stream(unix.AF_INET6, mptcp, v6)},
		{"fastopen-connect", stream(unix.AF_INET, tcp, v4, option{unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1})},
		{"mptcp-fastopen-connect", stream(unix.AF_INET, mptcp, v4, option{unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1})},
		{"fastopen-sendto", fastOpen(tcp)},
		{"mptcp-fastopen-sendto", fastOpen(mptcp)},
		{"mark", stream(unix.AF_INET, tcp, v4, option{unix.SOL_SOCKET, unix.SO_MARK, 0x539})},
		{"non-blocking", nonBlocking},
		{"bind-device", boundToDevice},
		{"bind-port", boundToPort},
		{"freebind", freeBind},
		{"sctp", stream(unix.AF_INET, unix.IPPROTO_SCTP, v4)},
		{"smc", stream(unix.AF_SMC, 0, v4)},
	}
}

// fastOpen sends with the SYN, without a call of connect.
func fastOpen(protocol int) func(target) seen {
	return func(to target) seen {
		fd, err := open(unix.AF_INET, unix.SOCK_STREAM, protocol)
		if err != nil {
			return saw("", err)
		}
		if err := unix.Sendto(fd, []byte(payload), unix.MSG_FASTOPEN, at(unix.AF_INET, to.Server4, to.Port)); err != nil {
			return saw("sendto", err)
		}
		return listen(fd)
	}
}

func nonBlocking(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.Connect(fd, at(unix.AF_INET, to.Server4, to.Port)); err != nil && err != unix.EINPROGRESS {
		return saw("connect", err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, int(patience.Milliseconds())); n == 0 || err != nil {
		return seen{Saw: "poll: time-out"}
	}
	return listen(fd)
}

func boundToDevice(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, uplink()); err != nil {
		return saw("setsockopt", err)
	}
	return talk(fd, at(unix.AF_INET, to.Server4, to.Port))
}

// boundToPort asks from the port of a connection that the agent has just had.
func boundToPort(to target) seen {
	var source unix.Sockaddr = &unix.SockaddrInet4{}
	var last seen
	for range 2 {
		fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return saw("", err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return saw("setsockopt", err)
		}
		if err := unix.Bind(fd, source); err != nil {
			return saw("bind", err)
		}
		if source, err = unix.Getsockname(fd); err != nil {
			return saw("getsockname", err)
		}
		last = talk(fd, at(unix.AF_INET, to.Server4, to.Port))
		_ = unix.Close(fd) // with a reset, so that the port is free
		if last.Gained {
			return last
		}
	}
	return last
}

// freeBind sends from an address that is not the container's own.
func freeBind(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1); err != nil {
		return saw("setsockopt", err)
	}
	if err := unix.Bind(fd, at(unix.AF_INET, to.Innocent, 0)); err != nil {
		return saw("bind", err)
	}
	return talk(fd, at(unix.AF_INET, to.Server4, to.Port))
}

// uplink is what Docker and Podman call a container's only link or, where it is a
// user's, slirp4netns.
func uplink() string {
	const ofUser = "tap0"
	if _, err := net.InterfaceByName(ofUser); err == nil {
		return ofUser
	}
	return "eth0"
}

// ownAddress is the container's address of a family on its uplink.
func ownAddress(ipv6 bool) (netip.Addr, error) {
	link, err := net.InterfaceByName(uplink())
	if err != nil {
		return netip.Addr{}, err
	}
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is6() == ipv6 && !prefix.Addr().IsLinkLocalUnicast() {
			return prefix.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no such address", uplink())
}
