package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	resolveEvery   = 5 * time.Second
	resolveTimeout = 10 * time.Second
	// keepAddress is how long an address stays protected after its name no
	// longer has it: clients and connection pools remember it too.
	keepAddress = time.Hour
	// keepWithdrawn is how long a destination that has lost its container is
	// refused, not let go: it may only be starting again.
	keepWithdrawn = 10 * time.Second
)

// destinations maps protected addresses to resources. One goroutine refreshes
// it; a session looks up in the snapshot that it was given.
type destinations struct {
	resources []policy.Resource
	resolver  *net.Resolver
	seen      map[redirect.Destination]sighting

	containers attribution.Containers
	gone       map[redirect.Destination]time.Time // published once, and since when not
}

// sighting is when a name last had an address, and whose it is.
type sighting struct {
	resource *policy.Resource
	last     time.Time
	// container had the address when its name was last resolved to it; empty:
	// none, or the policy names the address itself.
	container string
	withdrawn time.Time // when that container was no longer there; zero: it is
}

func newDestinations(resources []policy.Resource) *destinations {
	return &destinations{
		resources: resources,
		resolver:  net.DefaultResolver,
		seen:      make(map[redirect.Destination]sighting),
		gone:      make(map[redirect.Destination]time.Time),
	}
}

// refresh resolves every name. Names that cannot be resolved are in the error,
// and keep the addresses that they had.
func (d *destinations) refresh(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var errs []error
	for i := range d.resources {
		resource := &d.resources[i]
		for _, host := range resource.Hosts {
			if host.Name == "" {
				errs = append(errs, d.see(host.Prefix, resource, now))
				continue
			}
			addrs, err := d.resolver.LookupNetIP(ctx, "ip", host.Name)
			if err != nil {
				errs = append(errs, fmt.Errorf("resource %s: resolve %s: %w", resource.Name, host.Name, err))
				d.touch(resource, now)
				continue
			}
			for _, addr := range addrs {
				addr = addr.Unmap()
				errs = append(errs, d.see(netip.PrefixFrom(addr, addr.BitLen()), resource, now))
				d.bind(addr, resource)
			}
		}
	}
	maps.DeleteFunc(d.seen, func(_ redirect.Destination, s sighting) bool { return s.isOver(now) })
	return errors.Join(errs...)
}

// see notes an address. One address and port cannot belong to two resources:
// which rules protect it would be a matter of luck.
func (d *destinations) see(prefix netip.Prefix, resource *policy.Resource, now time.Time) error {
	key := redirect.Destination{Prefix: prefix, Port: resource.Port}
	if old, known := d.seen[key]; known && old.resource != resource && old.withdrawn.IsZero() {
		return fmt.Errorf("%s port %d belongs to resource %s and to resource %s", prefix, resource.Port, old.resource.Name, resource.Name)
	}
	d.seen[key] = sighting{resource: resource, last: now}
	return nil
}

// touch keeps the addresses of a resource whose name could not be asked.
func (d *destinations) touch(resource *policy.Resource, now time.Time) {
	for key, s := range d.seen {
		if s.resource != resource {
			continue
		}
		s.last = now
		if !s.withdrawn.IsZero() {
			s.withdrawn = now
		}
		d.seen[key] = s
	}
}

func (s sighting) isOver(now time.Time) bool {
	return now.Sub(s.last) > keepAddress || !s.withdrawn.IsZero() && now.Sub(s.withdrawn) > keepWithdrawn
}

// protected returns what the kernel must redirect, and the table for look-ups.
func (d *destinations) protected() ([]redirect.Destination, table) {
	all := d.named()
	d.addPublished(all)
	return slices.Collect(maps.Keys(all)), all
}

// named is the table of what the policy names.
func (d *destinations) named() table {
	all := make(table, len(d.seen))
	for key, s := range d.seen {
		all[key] = route{}
		if s.withdrawn.IsZero() {
			all[key] = route{resource: s.resource}
		}
	}
	return all
}

// table is an immutable snapshot of destinations.
type table map[redirect.Destination]route

// route says where a destination leads.
type route struct {
	resource *policy.Resource // nil: nowhere now, and who asks for it is refused
	server   netip.AddrPort   // what to dial; invalid: the destination itself
}

// to returns what to dial for a destination.
func (r route) to(dst netip.AddrPort) netip.AddrPort {
	if r.server.IsValid() {
		return r.server
	}
	return dst
}

// lookup returns the route of an address: that of the longest prefix, as the
// kernel decides too. It reports whether there is one.
func (t table) lookup(dst netip.AddrPort) (route, bool) {
	addr := dst.Addr().Unmap()
	for bits := addr.BitLen(); bits >= 0; bits-- {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return route{}, false
		}
		if found, known := t[redirect.Destination{Prefix: prefix, Port: dst.Port()}]; known {
			return found, true
		}
	}
	return route{}, false
}
