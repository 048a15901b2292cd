package destination

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	// A name is asked for again when its answer ends, and sooner: a job's own
	// resolver may learn of a new address before ours has forgotten the old one.
	resolveSoonest = time.Second
	resolveLatest  = 5 * time.Second
	// keepAddress is how long an address stays protected after the last answer
	// with it has ended: clients and connection pools remember it too.
	keepAddress = time.Hour
	// keepWithdrawn is how long a destination that has lost its container is
	// refused, not let go: it may only be starting again.
	keepWithdrawn = 10 * time.Second
)

// names knows whose every destination is: by the blocks of addresses that the
// policy has, by what its names were resolved to, and by what the node
// publishes of those. Only one goroutine uses it at a time.
type names struct {
	all    []*named
	shared map[string][]string             // all resources of a place, by the first; the others are not known by name below
	fixed  map[redirect.Destination]string // the policy's own addresses, and their resource
	clash  error                           // of those
	seen   map[redirect.Destination]sighting

	containers attribution.Containers
	gone       map[redirect.Destination]time.Time // published once, and since when not
}

// named is a resource's name to resolve.
type named struct {
	resource string
	host     string
	port     uint16
	next     time.Time // when to ask again
}

// sighting is an address that a name was resolved to.
type sighting struct {
	named *named
	until time.Time // kept so long
	lost  bool      // the name's latest answer has other addresses
	// container had the address when its name was last resolved to it; empty:
	// none.
	container string
	withdrawn time.Time // when that container was no longer there; zero: it is
}

func newNames(resources []policy.Resource) *names {
	n := &names{
		shared: make(map[string][]string),
		fixed:  make(map[redirect.Destination]string),
		seen:   make(map[redirect.Destination]sighting),
		gone:   make(map[redirect.Destination]time.Time),
	}
	var errs []error
	for _, resource := range resources {
		// The policy lets resources select sessions only where they list the same hosts.
		first := resources[slices.IndexFunc(resources, func(r policy.Resource) bool { return r.Name == resource.Name || sharePlace(r, resource) })]
		n.shared[first.Name] = append(n.shared[first.Name], resource.Name)
		if first.Name != resource.Name {
			continue
		}
		for _, host := range resource.Hosts {
			if host.Name != "" {
				n.all = append(n.all, &named{resource: resource.Name, host: host.Name, port: resource.Port})
				continue
			}
			key := redirect.Destination{Prefix: host.Prefix, Port: resource.Port}
			if other, taken := n.fixed[key]; taken && other != resource.Name {
				errs = append(errs, claimed(key, other, resource.Name))
				continue
			}
			n.fixed[key] = resource.Name
		}
	}
	n.clash = errors.Join(errs...)
	return n
}

// sharePlace reports whether two resources are at one place, and select sessions
// there.
func sharePlace(a, b policy.Resource) bool {
	return a.Port == b.Port && slices.Equal(a.Hosts, b.Hosts) && !a.Select.IsZero() && !b.Select.IsZero()
}

// claimed says that one address and port belongs to two resources: which rules
// protect it would be a matter of luck.
func claimed(key redirect.Destination, by, also string) error {
	return fmt.Errorf("%s port %d belongs to resource %s and to resource %s", key.Prefix, key.Port, by, also)
}

// due returns the names that are to be asked for now.
func (n *names) due(now time.Time) []*named {
	var due []*named
	for _, one := range n.all {
		if !now.Before(one.next) {
			due = append(due, one)
		}
	}
	return due
}

// take takes answers over. Names that have none are in the error, and keep the
// addresses that they had.
func (n *names) take(answers []answer, now time.Time) error {
	errs := []error{n.clash}
	for _, a := range answers {
		if !a.next.After(a.asked) { // else something has happened meanwhile
			a.next = now.Add(a.pause())
		}
		if a.err != nil {
			errs = append(errs, fmt.Errorf("resource %s: resolve %s: %w", a.resource, a.host, a.err))
			n.touch(a.named, now)
			continue
		}
		n.lose(a.named)
		for _, addr := range a.addrs {
			errs = append(errs, n.see(addr.Unmap(), a, now))
		}
	}
	maps.DeleteFunc(n.seen, func(_ redirect.Destination, s sighting) bool { return s.isOver(now) })
	return errors.Join(errs...)
}

// pause is until when an answer is good enough.
func (a answer) pause() time.Duration {
	if a.least == 0 {
		return resolveLatest
	}
	return min(max(a.least, resolveSoonest), resolveLatest)
}

// see notes an address. Of two names that have it the first is believed, until
// its answers have it no more.
func (n *names) see(addr netip.Addr, a answer, now time.Time) error {
	key := exactly(netip.AddrPortFrom(addr, a.port))
	if owner, fixed := n.fixed[key]; fixed {
		if owner != a.resource {
			return claimed(key, owner, a.resource)
		}
		return nil
	}
	old, known := n.seen[key]
	if known && old.withdrawn.After(a.asked) {
		return nil // the answer may be older than that
	}
	if known && old.named.resource != a.resource && !old.lost && old.withdrawn.IsZero() {
		return claimed(key, old.named.resource, a.resource)
	}
	n.seen[key] = sighting{named: a.named, until: now.Add(a.most + keepAddress), container: n.containers.Owners[addr]}
	return nil
}

// lose marks the addresses of a name before the ones that it has are seen.
func (n *names) lose(one *named) {
	for key, s := range n.seen {
		if s.named == one {
			s.lost = true
			n.seen[key] = s
		}
	}
}

// touch keeps the addresses of a name that could not be asked for.
func (n *names) touch(one *named, now time.Time) {
	for key, s := range n.seen {
		if s.named != one {
			continue
		}
		if kept := now.Add(keepAddress); s.until.Before(kept) {
			s.until = kept
		}
		if !s.withdrawn.IsZero() {
			s.withdrawn = now
		}
		n.seen[key] = s
	}
}

func (s sighting) isOver(now time.Time) bool {
	return now.After(s.until) || !s.withdrawn.IsZero() && now.Sub(s.withdrawn) > keepWithdrawn
}

// table is what must be in force.
func (n *names) table() Table {
	all := n.own()
	n.addPublished(all)
	return all
}

// own is the table of what the policy names.
func (n *names) own() Table {
	all := make(Table, len(n.fixed)+len(n.seen))
	for key, s := range n.seen {
		all[key] = Route{}
		if s.withdrawn.IsZero() {
			all[key] = Route{Resources: n.shared[s.named.resource]}
		}
	}
	for key, resource := range n.fixed {
		all[key] = Route{Resources: n.shared[resource]}
	}
	return all
}
