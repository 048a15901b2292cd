package agent

import (
	"maps"
	"net/netip"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// bind notes which container has an address that a name was resolved to.
func (d *destinations) bind(addr netip.Addr, resource *policy.Resource) {
	key := exactly(netip.AddrPortFrom(addr, resource.Port))
	s, known := d.seen[key]
	if !known || s.resource != resource {
		return // it is another's
	}
	s.container = d.containers.Owners[addr]
	d.seen[key] = s
}

// exactly is an address and port as a destination.
func exactly(at netip.AddrPort) redirect.Destination {
	return redirect.Destination{Prefix: netip.PrefixFrom(at.Addr(), at.Addr().BitLen()), Port: at.Port()}
}

// follow takes over where containers are now. What was a container's that is
// there no more is withdrawn: the next one that gets the address is not the
// resource, even while the name is still remembered for the old one. It reports
// whether that happened; the names should be resolved again then.
func (d *destinations) follow(all attribution.Containers, now time.Time) (moved bool) {
	for key, s := range d.seen {
		if s.container == "" || !s.withdrawn.IsZero() || all.Owners[key.Prefix.Addr()] == s.container {
			continue
		}
		s.withdrawn = now
		d.seen[key] = s
		moved = true
	}
	before := d.offers()
	d.containers = all
	for key := range before {
		d.gone[key] = now
	}
	for _, p := range all.Published {
		delete(d.gone, exactly(p.Node)) // whoever has it now
	}
	maps.DeleteFunc(d.gone, func(_ redirect.Destination, since time.Time) bool { return now.Sub(since) > keepWithdrawn })
	return moved
}

// offers are the published ports that lead to a protected address.
func (d *destinations) offers() table {
	own, offers := d.named(), make(table)
	for _, p := range d.containers.Published {
		behind, protected := own.lookup(p.Container)
		if !protected {
			continue
		}
		key := exactly(p.Node)
		if known := offers[key]; known.resource == nil {
			offers[key] = route{resource: behind.resource, server: p.Container}
		}
	}
	return offers
}

// addPublished adds to what the policy names the ports that the node publishes
// of it, and those that it did until a moment ago. Where the policy names one
// itself, that is whose it is.
func (d *destinations) addPublished(all table) {
	for key, offer := range d.offers() {
		if known, named := all[key]; !named || known.resource == offer.resource {
			all[key] = offer
		}
	}
	for key := range d.gone {
		if _, known := all[key]; !known {
			all[key] = route{}
		}
	}
}
