package agent

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/policy"
)

// protected is protocol.Conn's Protected.
func (a *Agent) protected(host string, port uint16) (resources []string, protected bool) {
	_, route, found := a.place(host, port)
	return route.Resources, found
}

// place finds a protected place by a name or an address, with an address by
// which this node knows it. A name that only others would resolve to a
// resource's address is not known.
func (a *Agent) place(host string, port uint16) (netip.AddrPort, destination.Route, bool) {
	table := a.Broker.Table()
	if addr, err := netip.ParseAddr(host); err == nil {
		at := netip.AddrPortFrom(addr.Unmap().WithZone(""), port)
		route, found := table.Lookup(at)
		return at, route, found
	}
	return placeOf(table, a.Policy.Resources(), strings.ToLower(strings.TrimSuffix(host, ".")), port)
}

// placeOf finds a protected place by a name that somebody else is to resolve:
// it is that of all resources which list it. A name that a search list would
// make one that is listed counts as it: whoever resolves it may have such a
// list (resolv.conf(5)).
func placeOf(table destination.Table, resources []policy.Resource, name string, port uint16) (netip.AddrPort, destination.Route, bool) {
	listed := listedAs(resources, name, port)
	if len(listed) != 1 {
		return netip.AddrPort{}, destination.Route{}, len(listed) > 0 // nobody can tell which of several is meant
	}
	var there []string
	for _, r := range resources {
		if r.Port == port && slices.Contains(hosts(r).Names, listed[0]) {
			there = append(there, r.Name)
		}
	}
	at, known := whereAre(table, there, port)
	if !known {
		return netip.AddrPort{}, destination.Route{}, true // it leads nowhere now
	}
	return at, destination.Route{Resources: there}, true
}

// listedAs are the names at a port that may be meant by one.
func listedAs(resources []policy.Resource, name string, port uint16) (may []string) {
	for _, r := range resources {
		if r.Port != port {
			continue
		}
		for _, listed := range hosts(r).Names {
			if listed == name {
				return []string{listed}
			}
			if strings.HasPrefix(listed, name+".") && !slices.Contains(may, listed) {
				may = append(may, listed)
			}
		}
	}
	return may
}

// whereAre returns the first address at which resources are together.
func whereAre(table destination.Table, names []string, port uint16) (at netip.AddrPort, known bool) {
	for to, leads := range table {
		here := netip.AddrPortFrom(to.Prefix.Addr(), to.Port)
		missing := slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(leads.Resources, name) })
		if to.Port != port || missing || known && at.Compare(here) <= 0 {
			continue
		}
		at, known = here, true
	}
	return at, known
}
