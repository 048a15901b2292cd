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

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	resolveEvery   = 5 * time.Second
	resolveTimeout = 10 * time.Second
	// keepAddress is how long an address stays protected after its name no
	// longer has it: clients and connection pools remember it too.
	keepAddress = time.Hour
)

// destinations maps protected addresses to resources. One goroutine refreshes
// it; a session looks up in the snapshot that it was given.
type destinations struct {
	resources []policy.Resource
	resolver  *net.Resolver
	seen      map[redirect.Destination]sighting
}

// sighting is when a name last had an address, and whose it is.
type sighting struct {
	resource *policy.Resource
	last     time.Time
}

func newDestinations(resources []policy.Resource) *destinations {
	return &destinations{
		resources: resources,
		resolver:  net.DefaultResolver,
		seen:      make(map[redirect.Destination]sighting),
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
			}
		}
	}
	maps.DeleteFunc(d.seen, func(_ redirect.Destination, s sighting) bool { return now.Sub(s.last) > keepAddress })
	return errors.Join(errs...)
}

// see notes an address. One address and port cannot belong to two resources:
// which rules protect it would be a matter of luck.
func (d *destinations) see(prefix netip.Prefix, resource *policy.Resource, now time.Time) error {
	key := redirect.Destination{Prefix: prefix, Port: resource.Port}
	if old, known := d.seen[key]; known && old.resource != resource {
		return fmt.Errorf("%s port %d belongs to resource %s and to resource %s", prefix, resource.Port, old.resource.Name, resource.Name)
	}
	d.seen[key] = sighting{resource: resource, last: now}
	return nil
}

// touch keeps the addresses of a resource whose name could not be asked.
func (d *destinations) touch(resource *policy.Resource, now time.Time) {
	for key, s := range d.seen {
		if s.resource == resource {
			d.seen[key] = sighting{resource: resource, last: now}
		}
	}
}

// protected returns what the kernel must redirect, and the table for look-ups.
func (d *destinations) protected() ([]redirect.Destination, table) {
	resources := make(table, len(d.seen))
	for key, s := range d.seen {
		resources[key] = s.resource
	}
	return slices.Collect(maps.Keys(resources)), resources
}

// table is an immutable snapshot of destinations.
type table map[redirect.Destination]*policy.Resource

// resource returns whose destination an address is: that of the longest
// prefix, as the kernel decides too. nil: nobody's.
func (t table) resource(dst netip.AddrPort) *policy.Resource {
	addr := dst.Addr().Unmap()
	for bits := addr.BitLen(); bits >= 0; bits-- {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return nil
		}
		if found := t[redirect.Destination{Prefix: prefix, Port: dst.Port()}]; found != nil {
			return found
		}
	}
	return nil
}
