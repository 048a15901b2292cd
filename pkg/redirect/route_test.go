package redirect_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// withOptions puts options into the header of an IPv4 packet.
func withOptions(packet []byte, options ...byte) []byte {
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	packet = slices.Concat(packet[:20], options, packet[20:])
	packet[0] += byte(len(options) / 4)
	return packet
}

// looseRoute is the option that names hops; the last is the destination.
func looseRoute(hops ...netip.Addr) []byte {
	option := []byte{131, byte(3 + 4*len(hops)), 4}
	for _, hop := range hops {
		option = append(option, hop.AsSlice()...)
	}
	return option
}

// routing is an IPv6 routing header that precedes a header of a kind.
func routing(next, kind byte, hops ...netip.Addr) []byte {
	header := []byte{next, byte(2 * len(hops)), kind, byte(len(hops)), 0, 0, 0, 0}
	for _, hop := range hops {
		header = append(header, hop.AsSlice()...)
	}
	return header
}

// routes are packets whose header has an open destination.
func (l *lab) routes() map[string]struct {
	packet []byte
	passes bool
} {
	src4, relay4, src6, relay6 := l.slice.Host4(1), l.slice.Host4(3), l.slice.Host6(1), l.slice.Host6(3)
	v4 := func(options ...byte) []byte {
		return withOptions(ipv4(src4, relay4, unix.IPPROTO_TCP, 0, syn(openPort)), options...)
	}
	v6 := func(next byte, parts ...[]byte) []byte {
		return ipv6(src6, relay6, next, slices.Concat(append(parts, syn(openPort))...))
	}
	padding := []byte{unix.IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0}
	thenRouting := []byte{unix.IPPROTO_ROUTING, 0, 1, 4, 0, 0, 0, 0}
	fragment := func(next byte, offset uint16) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16([]byte{next, 0}, offset), 1)
	}
	hidden := routing(unix.IPPROTO_TCP, 0, l.server6.Addr())
	return map[string]struct {
		packet []byte
		passes bool
	}{
		"loose route":                      {packet: v4(looseRoute(l.server4.Addr())...)},
		"route of several hops":            {packet: v4(looseRoute(relay4, relay4, l.server4.Addr())...)},
		"strict route after padding":       {packet: v4(append([]byte{1, 1, 137}, looseRoute(l.server4.Addr())[1:]...)...)},
		"route elsewhere":                  {packet: v4(looseRoute(relay4, relay4)...), passes: true},
		"route behind another option":      {packet: v4(append([]byte{148, 4, 0, 0}, looseRoute(l.server4.Addr())...)...)},
		"option that is too long":          {packet: v4(148, 44, 0, 0)},
		"option without length":            {packet: v4(148, 0, 0, 0)},
		"router alert":                     {packet: v4(148, 4, 0, 0), passes: true},
		"routing header":                   {packet: v6(unix.IPPROTO_ROUTING, hidden)},
		"segments":                         {packet: v6(unix.IPPROTO_ROUTING, routing(unix.IPPROTO_TCP, 4, l.server6.Addr(), relay6))},
		"segments elsewhere":               {packet: v6(unix.IPPROTO_ROUTING, routing(unix.IPPROTO_TCP, 4, relay6, relay6)), passes: true},
		"compressed route":                 {packet: v6(unix.IPPROTO_ROUTING, routing(unix.IPPROTO_TCP, 3, relay6))},
		"routing header behind options":    {packet: v6(unix.IPPROTO_DSTOPTS, thenRouting, hidden)},
		"routing header in a fragment":     {packet: v6(unix.IPPROTO_FRAGMENT, fragment(unix.IPPROTO_ROUTING, 1), hidden)},
		"later fragment":                   {packet: v6(unix.IPPROTO_FRAGMENT, fragment(unix.IPPROTO_ROUTING, 8)), passes: true},
		"headers without end":              {packet: v6(unix.IPPROTO_DSTOPTS, slices.Repeat(padding, 9))},
		"header that is not in the packet": {packet: ipv6(src6, relay6, unix.IPPROTO_ROUTING, nil)},
		"translated address":               {packet: ipv6(src6, translated(l.server4.Addr()), unix.IPPROTO_TCP, syn(protectedPort))},
		"options only":                     {packet: v6(unix.IPPROTO_DSTOPTS, append([]byte{unix.IPPROTO_TCP}, padding[1:]...)), passes: true},
	}
}

// translated is what a gateway between IPv6 and IPv4 takes for an IPv4 address
// (RFC 6052).
func translated(a netip.Addr) netip.Addr {
	v4 := a.As4()
	return netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: v4[0], v4[1], v4[2], v4[3]})
}

func TestRouteToProtectedDestinationIsNotTaken(t *testing.T) {
	l := newLab(t)
	must(t, l.job.Route(netip.PrefixFrom(translated(l.server4.Addr()), 128), l.server6.Addr()))
	for name, tc := range l.routes() {
		t.Run(name, func(t *testing.T) {
			family, relay := unix.AF_INET, l.slice.Host4(3)
			if tc.packet[0]>>4 == 6 {
				family, relay = unix.AF_INET6, netip.AddrFrom16([16]byte(tc.packet[24:40]))
			}
			fd := socketIn(t, l.job, family, unix.SOCK_RAW, unix.IPPROTO_RAW)
			before := l.dropped(t)
			err := unix.Sendto(fd, tc.packet, 0, sockaddr(family, netip.AddrPortFrom(relay, 0)))
			if (err == nil) != tc.passes {
				t.Errorf("sendto = %v, want success: %t", err, tc.passes)
			}
			if counted := l.dropped(t) > before; counted == tc.passes {
				t.Errorf("counted as dropped: %t, want %t", counted, !tc.passes)
			}
		})
	}
}

func TestRouteInFramesIsNotTaken(t *testing.T) {
	l := newLab(t)
	f := newFrames(t, l)
	eventually(t, "the stranger's link is guarded", func() bool { return l.guarded(t, f.near, "in") })
	dropped := func() uint64 {
		return l.counter(t, "link_in_dropped") + l.counter(t, "link_in_dropped_no_port") + l.counter(t, "link_in_dropped_route")
	}
	for name, tc := range l.routes() {
		t.Run(name, func(t *testing.T) {
			before := dropped()
			f.send(t, f.stranger, f.near, f.frame(tc.packet), unix.ETH_P_IP, 0)
			arrived := f.arrived(t, f.stranger, f.near)
			if arrived && !tc.passes {
				t.Error("arrived at the server")
			}
			if !tc.passes && dropped() == before {
				// Another agent on this machine drops what nobody can read, too.
				l.comeFirst(t, f.near)
				f.send(t, f.stranger, f.near, f.frame(tc.packet), unix.ETH_P_IP, 0)
			}
			if counted := dropped() > before; counted == tc.passes {
				t.Errorf("counted as dropped: %t, want %t", counted, !tc.passes)
			}
		})
	}
}

// A socket that asks for a protected destination by way of a translator is
// brought to the agent, which knows no such address and closes.
func TestTranslatedAddressIsRedirected(t *testing.T) {
	l := newLab(t)
	asked := netip.AddrPortFrom(translated(l.server4.Addr()), protectedPort)
	_, err := dialFrom(t, l.job, "tcp6", asked)
	must(t, err)
	if got := l.accept(t).Origin.Destination; got != asked {
		t.Errorf("destination = %s, want %s", got, asked)
	}
	fd := socketIn(t, l.job, unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if err := unix.Sendto(fd, []byte("x"), 0, sockaddr(unix.AF_INET6, asked)); err == nil {
		t.Error("sendto = nil, want an error")
	}
}
