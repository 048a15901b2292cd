package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Select says which of the sessions at a resource's address are the resource's,
// by what the client says as it begins. The zero value selects every session.
type Select struct {
	ServerNames []string // that it asks TLS for, as parseServerName returns them; empty: any, and none
	Databases   []string // that it asks for; empty: any
	Users       []string // that it says it is; empty: any
}

// Opening is what a client says of itself as it begins.
type Opening struct {
	ServerName     string // in TLS (RFC 6066, section 3); empty: no name, or no TLS
	Database, User string
}

// IsZero reports whether every session is selected.
func (s Select) IsZero() bool { return len(s.ServerNames)+len(s.Databases)+len(s.Users) == 0 }

// Has reports whether a session that begins like that is selected.
func (s Select) Has(by Opening) bool {
	return (len(s.ServerNames) == 0 || selectsName(s.ServerNames, by.ServerName)) &&
		(len(s.Databases) == 0 || slices.Contains(s.Databases, by.Database)) &&
		(len(s.Users) == 0 || slices.Contains(s.Users, by.User))
}

// meets reports whether there can be a session that both select.
func (s Select) meets(other Select) bool {
	same := func(x, y string) bool { return x == y }
	return share(s.ServerNames, other.ServerNames, meetingNames) &&
		share(s.Databases, other.Databases, same) && share(s.Users, other.Users, same)
}

// share reports whether something can be in both lists, of which an empty one
// has everything.
func share(a, b []string, meet func(x, y string) bool) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool { return meet(x, y) })
	})
}

// choice compiles a select clause. Names of PostgreSQL's databases and users are
// bytes: they are compared as they are.
func (c *compiler) choice(path string, clause *selectClause, observe bool) Select {
	if clause == nil {
		return Select{}
	}
	s := Select{Databases: clause.Databases, Users: clause.Users}
	for i, text := range clause.ServerNames {
		name, err := parseServerName(text)
		if err != nil {
			c.doc.Problem(fmt.Sprintf("%s.server_names[%d]", path, i), "%v", err)
		}
		s.ServerNames = append(s.ServerNames, name)
	}
	if s.IsZero() {
		c.doc.Problem(path, "selects nothing: list server_names, databases or users")
	}
	if slices.Contains(s.Databases, "") || slices.Contains(s.Users, "") {
		c.doc.Problem(path, "has an empty name: no session begins with one")
	}
	if observe {
		c.doc.Problem(path, "has no use in mode observe: nothing is refused there")
	}
	return s
}

// together says what keeps two resources that meet at an address from being told
// apart there; "" means nothing.
func together(r, other *Resource) string {
	switch {
	case r.Select.IsZero() || other.Select.IsZero():
		return "let each destination belong to one resource, or write in both what they select"
	case r.Protocol != other.Protocol:
		return "let resources that share a destination speak one protocol"
	case r.Select.meets(other.Select):
		return "let no session be selected by both"
	}
	return ""
}

// Apart reports whether no session at an address that both have can be of
// either: it is then nobody's choice but the client's which of them it is of.
func (r *Resource) Apart(other *Resource) bool { return together(r, other) == "" }

// answers reports whether a client that asks TLS for that name asks for this
// resource: by the names that it is selected by, or else those of its hosts.
func (r *Resource) answers(serverName string) bool {
	if len(r.Select.ServerNames) > 0 {
		return selectsName(r.Select.ServerNames, serverName)
	}
	return slices.ContainsFunc(r.Hosts, func(h Host) bool { return h.Name != "" && h.Name == lower(serverName) })
}

// Under returns those of some resources that a TLS client can mean which asks
// for that name. If one of them answers to it, those that do not are not meant;
// if none does, those that are selected by such names are not. So what is shown
// to prove the name is true of every resource that may yet be chosen.
func (p *Policy) Under(among []string, serverName string) []*Resource {
	var named, others []*Resource
	for _, name := range among {
		r := p.resources[name]
		switch {
		case r == nil:
		case r.answers(serverName):
			named = append(named, &r.Resource)
		case len(r.Select.ServerNames) == 0:
			others = append(others, &r.Resource)
		}
	}
	if len(named) > 0 {
		return named
	}
	return others
}

// CertificateNames are the names that all of some resources have, and the one
// that a client asks for where they answer to it.
func CertificateNames(of []*Resource, serverName string) (names []string) {
	for i, r := range of {
		own := r.names()
		if r.answers(serverName) && !slices.Contains(own, lower(serverName)) {
			own = append(own, lower(serverName)) // by a pattern
		}
		if i == 0 {
			names = own
			continue
		}
		names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(own, name) })
	}
	return names
}

// names are those of the resource's hosts, and those that it is selected by.
func (r *Resource) names() (names []string) {
	for _, h := range r.Hosts {
		names = append(names, h.Name)
	}
	names = append(names, r.Select.ServerNames...)
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return name == "" || strings.HasPrefix(name, anyLabel)
	})
}

// Choose returns the one of some resources whose sessions begin like that.
func (p *Policy) Choose(among []string, by Opening) (chosen *Resource, err error) {
	for _, r := range p.Under(among, by.ServerName) {
		if !r.Select.Has(by) {
			continue
		}
		if chosen != nil {
			return nil, fmt.Errorf("resources %s and %s both select the session", chosen.Name, r.Name)
		}
		chosen = r
	}
	if chosen == nil {
		return nil, fmt.Errorf("none of the resources %v selects the session", among)
	}
	return chosen, nil
}
