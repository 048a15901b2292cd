package main

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// rawPackets are IP packets of the job's own making.
func rawPackets() []technique {
	return []technique{
		{"raw-tcp", rawProtocol(unix.IPPROTO_TCP)},
		{"raw-udp", rawProtocol(unix.IPPROTO_UDP)},
		{"raw-sctp", rawProtocol(unix.IPPROTO_SCTP)},
		{"raw-gre", rawProtocol(unix.IPPROTO_GRE)},
		{"raw-tcp-ipv6", raw6},
		{"raw-sctp-ipv6", raw6Protocol},
		{"raw-header", rawIP(func(src netip.Addr, to target) []byte {
			return ipv4(src, to.Server4, unix.IPPROTO_TCP, 0, nil, syn(to, src))
		})},
		{"raw-fragments", rawFragments},
		{"raw-tiny", rawIP(func(src netip.Addr, to target) []byte {
			return ipv4(src, to.Server4, unix.IPPROTO_TCP, 0, nil, []byte{1, 2})
		})},
		{"raw-spoofed-source", rawIP(func(_ netip.Addr, to target) []byte {
			return ipv4(to.Innocent, to.Server4, unix.IPPROTO_TCP, 0, nil, syn(to, to.Innocent))
		})},
		{"raw-ip-in-ip", tunnelled},
	}
}

// rawProtocol lets the kernel write the IP header.
func rawProtocol(protocol int) func(target) seen {
	return func(to target) seen {
		src, err := ownAddress(false)
		if err != nil {
			return saw("", err)
		}
		text := syn(to, src)
		if protocol == unix.IPPROTO_UDP {
			text = datagram(to.Port)
		}
		return sendRaw(unix.AF_INET, protocol, text, at(unix.AF_INET, to.Server4, 0))
	}
}

// rawIP writes the IP header itself.
func rawIP(packet func(src netip.Addr, to target) []byte) func(target) seen {
	return func(to target) seen {
		src, err := ownAddress(false)
		if err != nil {
			return saw("", err)
		}
		return sendRaw(unix.AF_INET, unix.IPPROTO_RAW, packet(src, to), at(unix.AF_INET, to.Server4, 0))
	}
}

// rawFragments hides the port from whoever looks at one packet.
func rawFragments(to target) seen {
	src, err := ownAddress(false)
	if err != nil {
		return saw("", err)
	}
	var last seen
	for _, fragment := range fragments(src, to) {
		last = sendRaw(unix.AF_INET, unix.IPPROTO_RAW, fragment, at(unix.AF_INET, to.Server4, 0))
	}
	return last
}

func raw6(to target) seen {
	src, err := ownAddress(true)
	if err != nil {
		return saw("", err)
	}
	text := segment(src, to.Server6, rawTCP, to.Port, tcpSyn, 1, 0, payload)
	return sendRaw(unix.AF_INET6, unix.IPPROTO_TCP, text, at(unix.AF_INET6, to.Server6, 0))
}

func raw6Protocol(to target) seen {
	return sendRaw(unix.AF_INET6, unix.IPPROTO_SCTP, []byte(payload), at(unix.AF_INET6, to.Server6, 0))
}

// tunnelled hides a packet in another one for the same host.
func tunnelled(to target) seen {
	src, err := ownAddress(false)
	if err != nil {
		return saw("", err)
	}
	inner := ipv4(src, to.Server4, unix.IPPROTO_TCP, 0, nil, syn(to, src))
	return sendRaw(unix.AF_INET, unix.IPPROTO_IPIP, inner, at(unix.AF_INET, to.Server4, 0))
}

func sendRaw(family, protocol int, packet []byte, to unix.Sockaddr) seen {
	fd, err := open(family, unix.SOCK_RAW, protocol)
	if err != nil {
		return saw("", err)
	}
	return saw("sendto", unix.Sendto(fd, packet, 0, to))
}
