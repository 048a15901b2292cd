package redirect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// tunnels are the ends of tunnels in this network namespace at which packets come
// out that nobody has signed. What a container sends there, wrapped, the node
// forwards as if another node had sent it, and no program has seen it come in. So
// nobody on the node sends anything to such an end at one of the node's own
// addresses. Other nodes do, through links that lead out of it.
func tunnels() ([]Destination, error) {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var ports []uint16
	for _, l := range links {
		if port := tunnelPort(l); port != 0 && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	if len(ports) == 0 {
		return nil, nil
	}
	heard, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	var all []Destination
	for _, a := range heard {
		for _, port := range ports {
			all = append(all, Destination{Prefix: netip.PrefixFrom(a, a.BitLen()), Port: port})
		}
	}
	slices.SortFunc(all, func(a, b Destination) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Port, b.Port))
	})
	return all, nil
}

// tunnelPort is the UDP port of a tunnel's end, 0 for what is none. A tunnel without
// ports gets its protocol's number: of such packets the address decides.
func tunnelPort(l netlink.Link) uint16 {
	switch l := l.(type) {
	case *netlink.Vxlan:
		return uint16(l.Port)
	case *netlink.Geneve:
		return l.Dport
	}
	switch l.Type() {
	case "ipip", "ip6tnl":
		return unix.IPPROTO_IPIP
	case "sit":
		return unix.IPPROTO_IPV6
	case "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan":
		return unix.IPPROTO_GRE
	}
	return 0
}

// ownAddresses are those at which the node hears: its own, broadcasts and the
// groups of all hosts. Containers have their own loopback.
func ownAddresses() (heard []netip.Addr, err error) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	heard = []netip.Addr{
		netip.AddrFrom4([4]byte{255, 255, 255, 255}), netip.AddrFrom4([4]byte{224, 0, 0, 1}), netip.IPv6LinkLocalAllNodes(),
	}
	for _, a := range addrs {
		for _, ip := range [][]byte{a.IP, a.Broadcast} {
			if own, ok := netip.AddrFromSlice(ip); ok && !own.IsLoopback() && !slices.Contains(heard, own.Unmap()) {
				heard = append(heard, own.Unmap())
			}
		}
	}
	return heard, nil
}

// followTunnels protects the ends of tunnels that come until ctx ends.
func (r *Redirect) followTunnels(ctx context.Context) error {
	tick := time.NewTicker(linksInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := r.protectTunnels(); err != nil {
			r.log.Warn("tunnels are guarded late", zap.Error(err))
		}
	}
}

func (r *Redirect) protectTunnels() error {
	r.protect.Lock()
	defer r.protect.Unlock()
	there, err := tunnels()
	if err != nil || slices.Equal(there, r.tunnels) {
		return err
	}
	return r.protectAll(r.protected, there)
}
