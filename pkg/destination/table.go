package destination

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// Table says where each protected destination leads. Nobody changes one that
// is in force.
type Table map[redirect.Destination]Route

// Route says where a destination leads.
type Route struct {
	// Resources that are there: as a rule one, or several of which what a client
	// says as it begins selects one. None: it leads nowhere now, and who asks for
	// it is refused.
	Resources []string
	Server    netip.AddrPort // what to dial; invalid: the destination itself
	// Clash are resources that came to be there together, although a session there
	// could be of two of them. It leads nowhere then.
	Clash []string
}

func (r Route) equal(other Route) bool {
	return r.Server == other.Server && slices.Equal(r.Resources, other.Resources) && slices.Equal(r.Clash, other.Clash)
}

// To returns what to dial for a destination.
func (r Route) To(dst netip.AddrPort) netip.AddrPort {
	if r.Server.IsValid() {
		return r.Server
	}
	return dst
}

// Lookup returns the route of an address: that of the longest prefix, as the
// kernel decides too. It reports whether there is one.
func (t Table) Lookup(dst netip.AddrPort) (Route, bool) {
	addr := dst.Addr().Unmap()
	for bits := addr.BitLen(); bits >= 0; bits-- {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return Route{}, false
		}
		if found, known := t[redirect.Destination{Prefix: prefix, Port: dst.Port()}]; known {
			return found, true
		}
	}
	return Route{}, false
}

// Destinations are what the kernel must redirect.
func (t Table) Destinations() []redirect.Destination { return slices.Collect(maps.Keys(t)) }

// entry is one line of a table on its way to another process.
type entry struct {
	redirect.Destination
	Route
}

// MarshalJSON writes a table for another process.
func (t Table) MarshalJSON() ([]byte, error) {
	all := make([]entry, 0, len(t))
	for d, r := range t {
		all = append(all, entry{d, r})
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Table) UnmarshalJSON(text []byte) error {
	var all []entry
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("read destinations: %w", err)
	}
	*t = make(Table, len(all))
	for _, e := range all {
		(*t)[e.Destination] = e.Route
	}
	return nil
}
