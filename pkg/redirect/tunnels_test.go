package redirect_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// overlay is the node's end of a tunnel that believes everybody, as overlays of
// clusters have one, and a stranger beside it.
type overlay struct {
	*lab
	stranger *netlab.Namespace
	near     string // the stranger's link, named alike at both ends
	device   string
	port     uint16
}

func newOverlay(t *testing.T, l *lab) *overlay {
	t.Helper()
	o := &overlay{lab: l, stranger: newNamespace(t), near: fmt.Sprintf("sjob%d", l.slice.Port), device: fmt.Sprintf("svx%d", l.slice.Port)}
	o.port = l.slice.Port + 3000
	host, err := netlab.Own()
	must(t, err)
	closeLater(t, host.Close)
	must(t, netlab.Connect(o.stranger, host, o.near,
		[]netip.Prefix{netip.PrefixFrom(l.slice.Host4(13), 30)}, []netip.Prefix{netip.PrefixFrom(l.slice.Host4(14), 30)}))
	must(t, netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: o.device}, VxlanId: 5, Port: int(o.port)}))
	t.Cleanup(func() { _ = host.Unlink(o.device) })
	device, err := netlink.LinkByName(o.device)
	must(t, err)
	must(t, netlink.LinkSetUp(device))
	return o
}

// wrapped is an Ethernet frame for the protected server in VXLAN's header
// (RFC 7348, section 5).
func (o *overlay) wrapped(t *testing.T) []byte {
	t.Helper()
	device, err := net.InterfaceByName(o.device)
	must(t, err)
	inner := ipv4(o.slice.Host4(13), o.server4.Addr(), unix.IPPROTO_TCP, 0, syn(protectedPort))
	return slices.Concat([]byte{8, 0, 0, 0, 0, 0, 5, 0}, device.HardwareAddr, []byte{2, 0, 0, 0, 0, 1, 8, 0}, inner)
}

// came is how many packets have come out of the tunnel.
func (o *overlay) came(t *testing.T) uint64 {
	t.Helper()
	device, err := netlink.LinkByName(o.device)
	must(t, err)
	return device.Attrs().Statistics.RxPackets
}

// send sends to the end of the tunnel that has an address. What is refused is
// not sent.
func (o *overlay) send(t *testing.T, to netip.Addr) {
	t.Helper()
	fd := socketIn(t, o.stranger, unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	must(t, unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, o.slice.Host4(13).As4()))
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: o.slice.Host4(13).As4()}))
	must(t, unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, o.near))
	err := unix.Sendto(fd, o.wrapped(t), 0, &unix.SockaddrInet4{Addr: to.As4(), Port: int(o.port)})
	if err != nil && !errors.Is(err, unix.EPERM) {
		t.Errorf("send to %s: %v", to, err)
	}
}

// What is sent to the node's own end of an overlay comes out in the node, and is
// forwarded from there as if another node had sent it.
func TestTunnelsOfTheNodeAreNoWayRound(t *testing.T) {
	l := newNetwork(t)
	o := newOverlay(t, l)
	ways := map[string]netip.Addr{
		"the node": l.slice.Host4(14), "everybody on the link": l.slice.Host4(15), "all": netip.AddrFrom4([4]byte{255, 255, 255, 255}),
		"the group of all hosts": netip.AddrFrom4([4]byte{224, 0, 0, 1}),
	}
	for name, to := range ways {
		before := o.came(t)
		o.send(t, to)
		eventually(t, "without an agent it comes out, sent to "+name, func() bool { return o.came(t) > before })
	}
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	l.runAgent(t)
	for name, to := range ways {
		before := o.came(t)
		o.send(t, to)
		<-time.After(50 * time.Millisecond) // what does not come cannot be waited for
		if o.came(t) != before {
			t.Errorf("sent to %s it comes out", name)
		}
	}
}

// An overlay may come after the agent.
func TestTunnelThatComesLaterIsNoWayRound(t *testing.T) {
	l := newLab(t)
	o := newOverlay(t, l)
	fd := socketIn(t, o.stranger, unix.AF_INET, unix.SOCK_DGRAM, 0)
	to := &unix.SockaddrInet4{Addr: l.slice.Host4(14).As4(), Port: int(o.port)}
	eventually(t, "its end is protected", func() bool { return errors.Is(unix.Sendto(fd, o.wrapped(t), 0, to), unix.EPERM) })
	must(t, l.agent.Protect(l.destinations()))
	if err := unix.Sendto(fd, o.wrapped(t), 0, to); !errors.Is(err, unix.EPERM) {
		t.Errorf("with other destinations: %v", err)
	}
}
