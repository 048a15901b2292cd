package destination

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	all       []*named
	resources map[string]*policy.Resource
	fixed     map[redirect.Destination][]string // the policy's own blocks, and whose they are
	lengths   []int                             // of those blocks, in bits
	seen      map[redirect.Destination][]sighting

	containers attribution.Containers
	gone       map[redirect.Destination]time.Time // published once, and since when not
}

// named is a name to resolve, on a port.
type named struct {
	resources []string // that have it
	host      string
	port      uint16
	next      time.Time // when to ask again
}

// sighting is an address that a name was resolved to. It has one for each name.
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
		resources: make(map[string]*policy.Resource),
		fixed:     make(map[redirect.Destination][]string),
		seen:      make(map[redirect.Destination][]sighting),
		gone:      make(map[redirect.Destination]time.Time),
	}
	for _, resource := range resources {
		n.resources[resource.Name] = &resource
		for _, host := range resource.Hosts {
			if host.Name != "" {
				n.name(host.Name, &resource)
				continue
			}
			key := redirect.Destination{Prefix: host.Prefix, Port: resource.Port}
			n.fixed[key] = append(n.fixed[key], resource.Name)
			if !slices.Contains(n.lengths, host.Prefix.Bits()) {
				n.lengths = append(n.lengths, host.Prefix.Bits())
			}
		}
	}
	return n
}

// name notes that a resource has a name.
func (n *names) name(host string, resource *policy.Resource) {
	for _, one := range n.all {
		if one.host == host && one.port == resource.Port {
			one.resources = append(one.resources, resource.Name)
			return
		}
	}
	n.all = append(n.all, &named{resources: []string{resource.Name}, host: host, port: resource.Port})
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
	var errs []error
	for _, a := range answers {
		if !a.next.After(a.asked) { // else something has happened meanwhile
			a.next = now.Add(a.pause())
		}
		if a.err != nil {
			errs = append(errs, fmt.Errorf("resource %s: resolve %s: %w", strings.Join(a.resources, ", "), a.host, a.err))
			n.touch(a.named, now)
			continue
		}
		n.lose(a.named)
		for _, addr := range a.addrs {
			n.see(addr.Unmap(), a, now)
		}
	}
	for key, all := range n.seen {
		n.keep(key, slices.DeleteFunc(all, func(s sighting) bool { return s.isOver(now) }))
	}
	return errors.Join(errs...)
}

// keep has what remains of an address's sightings.
func (n *names) keep(key redirect.Destination, all []sighting) {
	if len(all) == 0 {
		delete(n.seen, key)
		return
	}
	n.seen[key] = all
}

// pause is until when an answer is good enough.
func (a answer) pause() time.Duration {
	if a.least == 0 {
		return resolveLatest
	}
	return min(max(a.least, resolveSoonest), resolveLatest)
}

// see notes an address. What was there of other names and has gone gives way,
// unless sessions tell it apart.
func (n *names) see(addr netip.Addr, a answer, now time.Time) {
	key := exactly(netip.AddrPortFrom(addr, a.port))
	all := n.seen[key]
	if slices.ContainsFunc(all, func(s sighting) bool { return s.withdrawn.After(a.asked) }) {
		return // the answer may be older than that
	}
	all = slices.DeleteFunc(all, func(s sighting) bool {
		return s.named == a.named || !s.withdrawn.IsZero() || s.lost && !n.apart(s.named.resources, a.resources)
	})
	n.seen[key] = append(all, sighting{named: a.named, until: now.Add(a.most + keepAddress), container: n.containers.Owners[addr]})
}

// lose marks the addresses of a name before the ones that it has are seen.
func (n *names) lose(one *named) {
	n.each(one, func(s *sighting) { s.lost = true })
}

// each calls a function with every address of a name.
func (n *names) each(one *named, do func(*sighting)) {
	for _, all := range n.seen {
		for i := range all {
			if all[i].named == one {
				do(&all[i])
			}
		}
	}
}

// touch keeps the addresses of a name that could not be asked for.
func (n *names) touch(one *named, now time.Time) {
	n.each(one, func(s *sighting) {
		if kept := now.Add(keepAddress); s.until.Before(kept) {
			s.until = kept
		}
		if !s.withdrawn.IsZero() {
			s.withdrawn = now
		}
	})
}

func (s sighting) isOver(now time.Time) bool {
	return now.After(s.until) || !s.withdrawn.IsZero() && now.Sub(s.withdrawn) > keepWithdrawn
}
