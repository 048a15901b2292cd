package main

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagrams are the ways to send UDP.
func datagrams() []technique {
	return []technique{
		{"udp-connected", connected(unix.AF_INET, v4)},
		{"udp-connected-ipv6", connected(unix.AF_INET6, v6)},
		{"udp-sendto", unconnected(unix.AF_INET, v4)},
		{"udp-sendto-ipv6", unconnected(unix.AF_INET6, v6)},
		{"udp-sendto-mapped", unconnected(unix.AF_INET6, v4)},
		{"udp-unspec", unspecified},
		{"udp-cork", corked},
		{"udp-gso", segmented},
		{"quic", quic},
	}
}

func connected(family int, addr func(target) (netip.Addr, uint16)) func(target) seen {
	return func(to target) seen {
		fd, err := open(family, unix.SOCK_DGRAM, 0)
		if err != nil {
			return saw("", err)
		}
		host, port := addr(to)
		return talk(fd, at(family, host, port))
	}
}

func unconnected(family int, addr func(target) (netip.Addr, uint16)) func(target) seen {
	return func(to target) seen {
		host, port := addr(to)
		return sendTo(family, []byte(payload), at(family, host, port))
	}
}

func sendTo(family int, text []byte, to unix.Sockaddr, options ...option) seen {
	fd, err := open(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return saw("", err)
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return saw("setsockopt", err)
		}
	}
	return saw("sendto", unix.Sendto(fd, text, 0, to))
}

// unspecified leaves the family of the address open, which IPv4 sockets allow.
func unspecified(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return saw("", err)
	}
	raw := unix.RawSockaddrInet4{Family: unix.AF_UNSPEC, Port: networkOrder(to.Port), Addr: to.Server4.As4()}
	text := []byte(payload)
	return saw("sendto", call(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)), 0,
		uintptr(unsafe.Pointer(&raw)), unsafe.Sizeof(raw)))
}

// corked collects a datagram for one destination and pushes it out later.
func corked(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return saw("", err)
	}
	destination := at(unix.AF_INET, to.Server4, to.Port)
	if err := unix.Sendto(fd, []byte(payload), unix.MSG_MORE, destination); err != nil {
		return saw("sendto", err)
	}
	return saw("sendto", unix.Sendto(fd, []byte(payload), 0, destination))
}

// segmented lets the kernel cut one send into many datagrams.
func segmented(to target) seen {
	const udpSegment = 103 // linux/udp.h
	return sendTo(unix.AF_INET, make([]byte, 4000), at(unix.AF_INET, to.Server4, to.Port), option{unix.IPPROTO_UDP, udpSegment, 1000})
}

// quic sends what begins a QUIC connection (RFC 9000, section 17.2.2).
func quic(to target) seen {
	initial := make([]byte, 1200)
	copy(initial, []byte{0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x9e})
	return sendTo(unix.AF_INET, initial, at(unix.AF_INET, to.Server4, to.Port))
}

// networkOrder is a port as raw addresses hold it.
func networkOrder(port uint16) uint16 { return port<<8 | port>>8 }
