package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// routes change where packets go after the socket hooks have seen them.
func routes() []technique {
	return []technique{
		{"iptables-dnat", dnat("tcp", stream(unix.AF_INET, 0, innocent))},
		{"iptables-dnat-udp", dnat("udp", connected(unix.AF_INET, innocent))},
		{"iptables-listener-dnat", listenerDNAT},
		{"policy-route", policyRoute},
		{"source-route", sourceRoute},
		{"source-route-socket", sourceRouteSocket},
		{"routing-header", routingHeader},
		{"traffic-control", trafficControl},
	}
}

func innocent(to target) (netip.Addr, uint16) { return to.Innocent, to.Port }

// steps runs commands and stops at the first that fails.
func steps(commands ...string) error {
	for _, line := range commands {
		argv := strings.Fields(line)
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			return fmt.Errorf("%s: %s", argv[0], lines[len(lines)-1])
		}
	}
	return nil
}

// dnat asks for an innocent address that its own firewall translates.
func dnat(protocol string, try func(target) seen) func(target) seen {
	return func(to target) seen {
		rule := fmt.Sprintf("OUTPUT -p %s -d %s -j DNAT --to-destination %s:%d", protocol, to.Innocent, to.Server4, to.Port)
		if err := steps("iptables -w -t nat -A " + rule); err != nil {
			return seen{Saw: err.Error()}
		}
		defer func() { _ = steps("iptables -w -t nat -D " + rule) }()
		return try(to)
	}
}

// listenerDNAT lets the redirected connection be redirected again.
func listenerDNAT(to target) seen {
	rules := []string{
		fmt.Sprintf("OUTPUT -p tcp -d 127.0.0.1 --dport %d -j DNAT --to-destination %s:%d", to.Listener, to.Server4, to.Port),
		"POSTROUTING -o " + uplink() + " -j MASQUERADE",
	}
	for _, rule := range rules {
		if err := steps("iptables -w -t nat -A " + rule); err != nil {
			return seen{Saw: err.Error()}
		}
		defer func() { _ = steps("iptables -w -t nat -D " + rule) }()
	}
	return stream(unix.AF_INET, 0, v4)(to)
}

// policyRoute has a routing table of its own for the server.
func policyRoute(to target) seen {
	err := steps(
		fmt.Sprintf("ip route add %s/32 via %s table 100", to.Server4, to.Gateway),
		"ip rule add to "+to.Server4.String()+" lookup 100",
	)
	if err != nil {
		return seen{Saw: err.Error()}
	}
	defer func() {
		_ = steps("ip rule del to "+to.Server4.String()+" lookup 100", "ip route flush table 100")
	}()
	return stream(unix.AF_INET, 0, v4)(to)
}

// looseRoute is the option of RFC 791 with one hop to come.
func looseRoute(hop netip.Addr) []byte {
	return append([]byte{131, 7, 4}, append(hop.AsSlice(), 0)...)
}

// sourceRoute addresses the node, and says further on that it means the server.
func sourceRoute(to target) seen {
	src, err := ownAddress(false)
	if err != nil {
		return saw("", err)
	}
	packet := ipv4(src, to.Gateway, unix.IPPROTO_TCP, 0, looseRoute(to.Server4), syn(to, src))
	return sendRaw(unix.AF_INET, unix.IPPROTO_RAW, packet, at(unix.AF_INET, to.Gateway, 0))
}

// sourceRouteSocket lets an ordinary socket do so.
func sourceRouteSocket(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.SetsockoptString(fd, unix.SOL_IP, unix.IP_OPTIONS, string(looseRoute(to.Gateway))); err != nil {
		return saw("setsockopt", err)
	}
	return talk(fd, at(unix.AF_INET, to.Server4, to.Port))
}

// routingHeader does the same for IPv6: a segment routing header (RFC 8754)
// whose next segment is the node and whose last is the server.
func routingHeader(to target) seen {
	src, err := ownAddress(true)
	if err != nil {
		return saw("", err)
	}
	header := make([]byte, 8, 40)
	header[0], header[1], header[2], header[3], header[4] = unix.IPPROTO_TCP, 4, 4, 1, 1
	header = append(append(header, to.Server6.AsSlice()...), to.Gateway6.AsSlice()...)
	text := segment(src, to.Server6, rawTCP, to.Port, tcpSyn, 1, 0, payload)
	packet := ipv6(src, to.Gateway6, unix.IPPROTO_ROUTING, append(header, text...))
	return sendRaw(unix.AF_INET6, unix.IPPROTO_RAW, packet, at(unix.AF_INET6, to.Gateway6, 0))
}

// trafficControl rewrites the destination on the container's own link, after
// every hook on sockets.
func trafficControl(to target) seen {
	err := steps(
		"tc qdisc add dev "+uplink()+" clsact",
		fmt.Sprintf("tc filter add dev %s egress protocol ip u32 match ip dst %s/32 action pedit munge ip dst set %s pipe csum ip and tcp", uplink(), to.Innocent, to.Server4),
	)
	defer func() { _ = steps("tc qdisc del dev " + uplink() + " clsact") }()
	if err != nil {
		return seen{Saw: err.Error()}
	}
	return stream(unix.AF_INET, 0, innocent)(to)
}

// portOf is the destination port of a TCP segment.
func portOf(segment []byte) uint16 { return binary.BigEndian.Uint16(segment[2:]) }
