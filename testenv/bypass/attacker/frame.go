package main

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// frames are link-layer frames, which no socket hook sees.
func frames() []technique {
	return []technique{
		{"packet-socket", frame(nil, tcpFrame)},
		{"packet-socket-qdisc-bypass", frame(&option{unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1}, tcpFrame)},
		{"packet-socket-udp", frame(nil, func(src netip.Addr, to target) [][]byte {
			return [][]byte{ipv4(src, to.Server4, unix.IPPROTO_UDP, 0, nil, datagram(to.Port))}
		})},
		{"packet-socket-fragments", frame(nil, fragments)},
		{"packet-socket-vlan", vlanFrame},
		{"packet-socket-ipv6", frame6},
	}
}

func tcpFrame(src netip.Addr, to target) [][]byte {
	return [][]byte{ipv4(src, to.Server4, unix.IPPROTO_TCP, 0, nil, syn(to, src))}
}

func frame(extra *option, packets func(src netip.Addr, to target) [][]byte) func(target) seen {
	return func(to target) seen {
		src, err := ownAddress(false)
		if err != nil {
			return saw("", err)
		}
		mac, err := neighbour(to.Gateway)
		if err != nil {
			return saw("neighbour", err)
		}
		fd, err := open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return saw("", err)
		}
		if extra != nil {
			if err := unix.SetsockoptInt(fd, extra.level, extra.name, extra.value); err != nil {
				return saw("setsockopt", err)
			}
		}
		var last seen
		for _, packet := range packets(src, to) {
			last = sendFrame(fd, mac, unix.ETH_P_IP, packet)
		}
		return last
	}
}

// vlanFrame hides the packet behind an empty VLAN tag (802.1p), which receivers
// take off.
func vlanFrame(to target) seen {
	src, err := ownAddress(false)
	if err != nil {
		return saw("", err)
	}
	mac, err := neighbour(to.Gateway)
	if err != nil {
		return saw("neighbour", err)
	}
	fd, err := open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return saw("", err)
	}
	tag := []byte{0, 0, unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff}
	return sendFrame(fd, mac, unix.ETH_P_8021Q, append(tag, tcpFrame(src, to)[0]...))
}

// frame6 needs the router's address of the link layer, which is the same for
// both families.
func frame6(to target) seen {
	src, err := ownAddress(true)
	if err != nil {
		return saw("", err)
	}
	mac, err := neighbour(to.Gateway)
	if err != nil {
		return saw("neighbour", err)
	}
	fd, err := open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return saw("", err)
	}
	text := segment(src, to.Server6, rawTCP, to.Port, tcpSyn, 1, 0, payload)
	return sendFrame(fd, mac, unix.ETH_P_IPV6, ipv6(src, to.Server6, unix.IPPROTO_TCP, text))
}

func sendFrame(fd int, mac net.HardwareAddr, protocol uint16, packet []byte) seen {
	link, err := net.InterfaceByName(uplink())
	if err != nil {
		return saw("", err)
	}
	to := &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: link.Index, Halen: 6}
	copy(to.Addr[:], mac)
	return saw("sendto", unix.Sendto(fd, packet, 0, to))
}

// neighbour asks the kernel for a neighbour's link-layer address, which it
// learns when something is sent there.
func neighbour(addr netip.Addr) (net.HardwareAddr, error) {
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		if conn, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String()); err == nil {
			_, _ = conn.Write([]byte("x")) // refused or not: it was resolved
			_ = conn.Close()
		}
		table, err := os.Open("/proc/net/arp")
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(table); lines.Scan(); {
			field := strings.Fields(lines.Text())
			if len(field) > 3 && field[0] == addr.String() && field[2] == "0x2" {
				_ = table.Close()
				return net.ParseMAC(field[3])
			}
		}
		_ = table.Close()
	}
	return nil, errors.New("unknown link-layer address")
}
