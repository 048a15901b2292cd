package destination

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// table is what must be in force.
func (n *names) table() Table {
	all := n.own()
	n.addPublished(all)
	return all
}

// own is the table of what the policy names.
func (n *names) own() Table {
	all := make(Table, len(n.fixed)+len(n.seen))
	for key := range n.seen {
		all[key] = n.whose(key)
	}
	for key := range n.fixed {
		if _, known := all[key]; !known {
			all[key] = n.whose(key)
		}
	}
	return all
}

// whose says which resources have a destination now: all of whose blocks it is in
// and whose names have it. A longer prefix takes nothing from a shorter one. What
// a name has no more is its resource's still, for who remembers it, but not
// against anybody who has it.
func (n *names) whose(key redirect.Destination) Route {
	here := n.blocks(key)
	var left []string
	current, withdrawn := false, false
	for _, s := range n.seen[key] {
		switch {
		case !s.withdrawn.IsZero():
			withdrawn = true
		case s.lost:
			left = append(left, s.named.resources...)
		default:
			current = true
			here = append(here, s.named.resources...)
		}
	}
	if withdrawn && !current && len(n.fixed[key]) == 0 {
		return Route{}
	}
	return n.route(here, left)
}

// route leads to the resources that are here, unless nobody can tell them apart,
// and to those which have left and can be told from all others.
func (n *names) route(here, left []string) Route {
	slices.Sort(here)
	here = slices.Compact(here)
	if !n.apart(here, here) {
		return Route{Clash: here}
	}
	all := here
	for _, name := range left {
		one := []string{name}
		if n.apart(here, one) && n.apart(left, one) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return Route{Resources: slices.Compact(all)}
}

// apart reports whether no session can be of a resource of each list, other than
// of one that is in both.
func (n *names) apart(some, others []string) bool {
	for _, a := range some {
		for _, b := range others {
			if a != b && !n.resources[a].Apart(n.resources[b]) {
				return false
			}
		}
	}
	return true
}

// blocks are the resources whose blocks of addresses have a destination.
func (n *names) blocks(key redirect.Destination) (all []string) {
	for _, bits := range n.lengths {
		if bits > key.Prefix.Bits() {
			continue
		}
		block, err := key.Prefix.Addr().Prefix(bits)
		if err != nil {
			continue // of the other family
		}
		all = append(all, n.fixed[redirect.Destination{Prefix: block, Port: key.Port}]...)
	}
	return all
}
