package redirect_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

// frames is a lab whose agent's namespace has a bridge, as Docker makes one,
// with the server and a stranger at its ports.
type frames struct {
	*lab
	stranger *netlab.Namespace
	host     *netlab.Namespace
	near     string // the stranger's link, named alike at both ends
	bridge   string
	mac      net.HardwareAddr // of the server's end of its link to the bridge
	wire     *wire            // what arrives there
}

func newFrames(t testing.TB, l *lab) *frames {
	t.Helper()
	f := &frames{
		lab: l, stranger: newNamespace(t),
		near: fmt.Sprintf("sjob%d", l.slice.Port), bridge: fmt.Sprintf("sbr%d", l.slice.Port),
	}
	far := fmt.Sprintf("ssrv%d", l.slice.Port)
	host, err := netlab.Own()
	must(t, err)
	f.host = host
	closeLater(t, host.Close)
	must(t, netlab.Connect(f.stranger, host, f.near, nil, nil))
	must(t, netlab.Connect(l.server, host, far, nil, nil))
	must(t, host.Bridge(f.bridge, f.near, far))
	t.Cleanup(func() {
		for _, name := range []string{f.bridge, f.near, far} {
			_ = host.Unlink(name) // gone already if its namespace is
		}
	})
	must(t, l.server.Do(func() error {
		end, err := net.InterfaceByName(far)
		if err == nil {
			f.mac = end.HardwareAddr
		}
		return err
	}))
	f.wire = tap(t, l.server, far)
	return f
}

// frame puts an Ethernet header before a packet; tags are VLAN protocols. It
// completes an IPv4 header as the kernel does for raw sockets: a bridge with
// netfilter passes nothing else.
func (f *frames) frame(packet []byte, tags ...uint16) []byte {
	if size := int(packet[0]&15) * 4; packet[0]>>4 == 4 {
		binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
		binary.BigEndian.PutUint16(packet[10:], 0)
		binary.BigEndian.PutUint16(packet[10:], checksum(packet[:size]))
	}
	frame := append(append([]byte(nil), f.mac...), 2, 0, 0, 0, 0, 1)
	for _, tag := range tags {
		frame = binary.BigEndian.AppendUint16(frame, tag)
		frame = binary.BigEndian.AppendUint16(frame, 7)
	}
	kind := uint16(unix.ETH_P_IP)
	if packet[0]>>4 == 6 {
		kind = unix.ETH_P_IPV6
	}
	return append(binary.BigEndian.AppendUint16(frame, kind), packet...)
}

// send writes a frame to a link, telling the kernel that it is of a kind.
func (f *frames) send(t testing.TB, from *netlab.Namespace, name string, frame []byte, kind uint16, bypass int) {
	t.Helper()
	fd := socketIn(t, from, unix.AF_PACKET, unix.SOCK_RAW, 0)
	must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, bypass))
	to := &unix.SockaddrLinklayer{Protocol: htons(kind)}
	must(t, from.Do(func() error {
		l, err := net.InterfaceByName(name)
		if err == nil {
			to.Ifindex = l.Index
		}
		return err
	}))
	// A program that drops what leaves a link makes sendto fail.
	if err := unix.Sendto(fd, frame, 0, to); !errors.Is(err, unix.ENOBUFS) {
		must(t, err)
	}
}

// arrived sends a last frame that is allowed, and reports whether anything for
// the server's protected addresses came before it.
func (f *frames) arrived(t testing.TB, from *netlab.Namespace, name string) bool {
	t.Helper()
	end := make([]byte, 8)
	binary.BigEndian.PutUint16(end[2:], 9)
	f.send(t, from, name, f.frame(ipv4(f.slice.Host4(1), f.server4.Addr(), unix.IPPROTO_UDP, 0, end)), unix.ETH_P_IP, 0)
	found := f.wire.until(t, to(netip.AddrPortFrom(f.server4.Addr(), 9)), func(p []byte) bool {
		for _, address := range [][]byte{f.server4.Addr().AsSlice(), f.server6.Addr().AsSlice()} {
			for i := 0; i+len(address) <= len(p); i++ {
				if string(p[i:i+len(address)]) == string(address) {
					return true
				}
			}
		}
		return false
	})
	return len(found) > 0
}

func ipv6(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	header := make([]byte, 40, 40+len(payload))
	header[0], header[6], header[7] = 0x60, protocol, 64
	binary.BigEndian.PutUint16(header[4:], uint16(len(payload)))
	copy(header[8:], src.AsSlice())
	copy(header[24:], dst.AsSlice())
	return append(header, payload...)
}

func TestFramesToProtectedDestinationNeverPassTheLink(t *testing.T) {
	l := newLab(t)
	f := newFrames(t, l)
	eventually(t, "the stranger's link is guarded", func() bool { return l.guarded(t, f.near, "in") })
	src, dst := l.slice.Host4(1), l.server4.Addr()
	attack := ipv4(src, dst, unix.IPPROTO_TCP, 0, syn(protectedPort))
	attack6 := ipv6(l.slice.Host6(1), l.server6.Addr(), unix.IPPROTO_TCP, syn(protectedPort))
	manyTags := f.frame(attack, unix.ETH_P_8021AD, unix.ETH_P_8021Q, unix.ETH_P_8021Q, unix.ETH_P_8021Q)
	for _, tc := range []struct {
		name  string
		frame []byte
		kind  uint16
		why   string // the counter that moves; empty when it passes
	}{
		{"IPv4", f.frame(attack), unix.ETH_P_IP, "link_in_dropped"},
		{"IPv6", f.frame(attack6), unix.ETH_P_IPV6, "link_in_dropped"},
		{"said to be ARP", f.frame(attack), unix.ETH_P_ARP, "link_in_dropped"},
		{"VLAN", f.frame(attack, unix.ETH_P_8021Q), unix.ETH_P_8021Q, "link_in_dropped"},
		{"two tags", f.frame(attack, unix.ETH_P_8021AD, unix.ETH_P_8021Q), unix.ETH_P_8021AD, "link_in_dropped"},
		{"too many tags", manyTags, unix.ETH_P_8021AD, "link_in_dropped_unreadable"},
		{"later fragment", f.frame(ipv4(src, dst, unix.IPPROTO_TCP, 1, syn(openPort))), unix.ETH_P_IP, "link_in_dropped_no_port"},
		{"cut off", f.frame(attack)[:14+10], unix.ETH_P_IP, "link_in_dropped_unreadable"},
		{"another port", f.frame(ipv4(src, dst, unix.IPPROTO_TCP, 0, syn(openPort))), unix.ETH_P_IP, ""},
	} {
		for bypass := range 2 {
			t.Run(fmt.Sprintf("%s, qdisc bypass %d", tc.name, bypass), func(t *testing.T) {
				before := uint64(0)
				if tc.why != "" {
					before = l.counter(t, tc.why)
				}
				f.send(t, f.stranger, f.near, tc.frame, tc.kind, bypass)
				passes := tc.why == ""
				if arrived := f.arrived(t, f.stranger, f.near); arrived != passes {
					t.Errorf("arrived at the server: %t, want %t", arrived, passes)
				}
				if passes || l.counter(t, tc.why) > before {
					return
				}
				// Another agent on this machine drops what nobody can read, too.
				l.comeFirst(t, f.near)
				f.send(t, f.stranger, f.near, tc.frame, tc.kind, bypass)
				if got := l.counter(t, tc.why); got != before+1 {
					t.Errorf("%s = %d, want %d", tc.why, got, before+1)
				}
			})
		}
	}
	alert := l.wantAlert(t, redirect.AlertDropped)
	if alert.Destination != l.server4 || alert.Link != f.near {
		t.Errorf("alert = %+v, want one about %s through %s", alert, l.server4, f.near)
	}
}

// An alert names the namespace behind the link where the agent knows it.
func TestAlertNamesTheNamespaceBehindTheLink(t *testing.T) {
	l := newLab(t)
	f := newFrames(t, l)
	inhabit(t, f.stranger)
	_, err := dialFrom(t, f.stranger, "tcp4", l.server4)
	must(t, err)
	cookie := l.accept(t).Origin.NetnsCookie
	eventually(t, "the stranger's link is guarded", func() bool { return l.guarded(t, f.near, "in") })
	attack := ipv4(l.slice.Host4(1), l.server4.Addr(), unix.IPPROTO_TCP, 0, syn(protectedPort))
	f.send(t, f.stranger, f.near, f.frame(attack), unix.ETH_P_IP, 0)
	if alert := l.wantAlert(t, redirect.AlertDropped); alert.NetnsCookie != cookie {
		t.Errorf("alert = %+v, want netns cookie %d", alert, cookie)
	}
}

// A process in the agent's own namespace can write frames to any link.
func TestFramesOfTheHostsNetworkDoNotLeave(t *testing.T) {
	l := newLab(t)
	f := newFrames(t, l)
	eventually(t, "the bridge is guarded", func() bool { return l.guarded(t, f.bridge, "out") })
	eventually(t, "the server's link is guarded", func() bool { return l.guarded(t, fmt.Sprintf("ssrv%d", l.slice.Port), "out") })
	src, dst := l.slice.Host4(1), l.server4.Addr()
	attack := f.frame(ipv4(src, dst, unix.IPPROTO_TCP, 0, syn(protectedPort)))
	relayed := withOptions(ipv4(src, l.slice.Host4(3), unix.IPPROTO_TCP, 0, syn(openPort)), looseRoute(dst)...)
	for _, name := range []string{f.bridge, fmt.Sprintf("ssrv%d", l.slice.Port)} {
		for why, frame := range map[string][]byte{
			"link_out_dropped":            attack,
			"link_out_dropped_no_port":    f.frame(ipv4(src, dst, unix.IPPROTO_TCP, 1, syn(openPort))),
			"link_out_dropped_route":      f.frame(relayed),
			"link_out_dropped_unreadable": attack[:14+10],
		} {
			before := l.counter(t, why)
			f.send(t, f.host, name, frame, unix.ETH_P_IP, 0)
			if f.arrived(t, f.host, name) {
				t.Errorf("%s: the frame arrived at the server through %s", why, name)
			}
			// Another agent on this machine drops what nobody can read, too.
			if got := l.counter(t, why); got != before+1 && why != "link_out_dropped_unreadable" {
				t.Errorf("%s = %d, want %d", why, got, before+1)
			}
		}
	}
	_, err := l.dialServer(t.Context(), l.server4)
	must(t, err)
	if l.counter(t, "link_out_agent") == 0 {
		t.Error("link_out_agent = 0 after the agent dialled")
	}
}

func TestLinksStayGuardedWithoutAgentAndAreTakenOver(t *testing.T) {
	l := newLab(t)
	f := newFrames(t, l)
	eventually(t, "the stranger's link is guarded", func() bool { return l.guarded(t, f.near, "in") })
	before := l.pinnedLinks(t, "tcx")
	l.stop()
	must(t, l.agent.Close())
	f.send(t, f.stranger, f.near, f.frame(ipv4(l.slice.Host4(1), l.server4.Addr(), unix.IPPROTO_TCP, 0, syn(protectedPort))), unix.ETH_P_IP, 0)
	if f.arrived(t, f.stranger, f.near) {
		t.Error("the frame arrived at the server while there was no agent")
	}

	next, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
	must(t, err)
	l.agent = next
	for name, id := range l.pinnedLinks(t, "tcx") {
		if old, ok := before[name]; ok && old != id {
			t.Errorf("link %s was attached anew: there was a gap", name)
		}
	}
	must(t, next.Close())
	left := l.pinnedLinks(t, "tcx")
	must(t, redirect.Uninstall(l.pins))
	if l.guarded(t, f.near, "in") || l.guarded(t, f.near, "out") {
		t.Error("the stranger's link is guarded after the uninstall")
	}
	for name, id := range left {
		eventually(t, "link "+name+" is detached", func() bool {
			_, err := link.NewFromID(id)
			return errors.Is(err, fs.ErrNotExist)
		})
	}
}

// Whoever detaches a program from a link has it back after a while.
func TestRemovedProgramComesBack(t *testing.T) {
	l := newLab(t)
	f := newFrames(t, l)
	eventually(t, "the stranger's link is guarded", func() bool { return l.guarded(t, f.near, "in") })
	if filter := l.filter(t, f.near, "in"); filter != nil {
		must(t, netlink.FilterDel(filter))
	} else {
		must(t, os.Remove(l.tcxPin(t, f.near, "in")))
	}
	eventually(t, "it is guarded again", func() bool { return l.guarded(t, f.near, "in") })
}

// comeFirst makes the agent's program the first for what comes in through a
// link: it attaches before all others.
func (l *lab) comeFirst(t testing.TB, name string) {
	t.Helper()
	must(t, os.Remove(l.tcxPin(t, name, "in")))
	eventually(t, name+" is guarded again", func() bool { return l.guarded(t, name, "in") })
}

func (l *lab) tcxPin(t testing.TB, name, way string) string {
	t.Helper()
	on, err := net.InterfaceByName(name)
	must(t, err)
	return filepath.Join(l.pins, "tcx", fmt.Sprintf("%d-%s", on.Index, way))
}

// guarded asks for a program of the agent on a link, by tcx or by filter.
func (l *lab) guarded(t testing.TB, name, way string) bool {
	t.Helper()
	_, err := os.Stat(l.tcxPin(t, name, way))
	return err == nil || l.filter(t, name, way) != nil
}

// filter is what holds a program to a link where the kernel has no tcx.
func (l *lab) filter(t testing.TB, name, way string) netlink.Filter {
	t.Helper()
	on, err := netlink.LinkByName(name)
	must(t, err)
	parent := uint32(netlink.HANDLE_MIN_EGRESS)
	if way == "in" {
		parent = netlink.HANDLE_MIN_INGRESS
	}
	filters, err := netlink.FilterList(on, parent)
	if err != nil {
		return nil // there is nothing to hang one on
	}
	for _, filter := range filters {
		if bpf, ok := filter.(*netlink.BpfFilter); ok && bpf.Name == "sluice "+l.pins {
			return filter
		}
	}
	return nil
}
