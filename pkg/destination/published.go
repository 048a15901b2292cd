package destination

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// exactly is an address and port as a destination.
func exactly(at netip.AddrPort) redirect.Destination {
	return redirect.Destination{Prefix: netip.PrefixFrom(at.Addr(), at.Addr().BitLen()), Port: at.Port()}
}

// follow takes over where containers are now. What was a container's that is
// there no more is withdrawn: the next one that gets the address is not the
// resource, even while the name is still remembered for the old one. Its name is
// due then.
func (n *names) follow(all attribution.Containers, now time.Time) {
	for key, sightings := range n.seen {
		owner := all.Owners[key.Prefix.Addr()]
		for i, s := range sightings {
			if s.container != "" && s.withdrawn.IsZero() && owner != s.container {
				sightings[i].withdrawn, s.named.next = now, now
			}
		}
	}
	before := n.offers()
	n.containers = all
	for key := range before {
		n.gone[key] = now
	}
	for _, p := range all.Published {
		delete(n.gone, exactly(p.Node)) // whoever has it now
	}
	maps.DeleteFunc(n.gone, func(_ redirect.Destination, since time.Time) bool { return now.Sub(since) > keepWithdrawn })
}

// offers are the published ports that lead to a protected address.
func (n *names) offers() Table {
	own, offers := n.own(), make(Table)
	for _, p := range n.containers.Published {
		behind, protected := own.Lookup(p.Container)
		if !protected {
			continue
		}
		key := exactly(p.Node)
		if known := offers[key]; len(known.Resources) == 0 {
			behind.Server = p.Container
			offers[key] = behind
		}
	}
	return offers
}

// addPublished adds to what the policy names the ports that the node publishes
// of it, and those that it did until a moment ago. Where the policy names one
// itself, that is whose it is; where it is in a block of the policy's, it is the
// block's too.
func (n *names) addPublished(all Table) {
	for key, offer := range n.offers() {
		known, named := all[key]
		switch {
		case named && !slices.Equal(known.Resources, offer.Resources):
			continue
		case !named && len(offer.Resources) > 0:
			both := n.route(append(n.blocks(key), offer.Resources...), nil)
			offer.Resources, offer.Clash = both.Resources, both.Clash
		}
		all[key] = offer
	}
	for key := range n.gone {
		if _, known := all[key]; !known {
			all[key] = Route{}
		}
	}
}
