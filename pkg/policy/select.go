package policy

import (
	"fmt"
	"slices"
)

// Select says which of the sessions at a resource's address are the resource's,
// by what the client says as it begins. The zero value selects every session.
type Select struct {
	Databases []string // that it asks for; empty: any
	Users     []string // that it says it is; empty: any
}

// IsZero reports whether every session is selected.
func (s Select) IsZero() bool { return len(s.Databases) == 0 && len(s.Users) == 0 }

// Has reports whether a session that begins like that is selected.
func (s Select) Has(database, user string) bool {
	return (len(s.Databases) == 0 || slices.Contains(s.Databases, database)) &&
		(len(s.Users) == 0 || slices.Contains(s.Users, user))
}

// meets reports whether there can be a session that both select.
func (s Select) meets(other Select) bool {
	return share(s.Databases, other.Databases) && share(s.Users, other.Users)
}

// share reports whether something can be in both lists, of which an empty one
// has everything.
func share(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// choice compiles a select clause. Names of PostgreSQL's databases and users are
// bytes: they are compared as they are.
func (c *compiler) choice(path string, clause *selectClause, observe bool) Select {
	if clause == nil {
		return Select{}
	}
	s := Select{Databases: clause.Databases, Users: clause.Users}
	if s.IsZero() {
		c.doc.Problem(path, "selects nothing: list databases, users or both")
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
func together(r, other *resource) string {
	switch {
	case r.Select.IsZero() || other.Select.IsZero():
		return "let each destination belong to one resource, or write in both what they select"
	case r.Protocol != other.Protocol:
		return "let resources that share a destination speak one protocol"
	case !slices.Equal(r.Hosts, other.Hosts):
		return "let resources that share a destination list the same hosts"
	case r.Select.meets(other.Select):
		return "let no session be selected by both"
	}
	return ""
}

// Choose returns the one of some resources whose sessions begin like that.
func (p *Policy) Choose(among []string, database, user string) (*Resource, error) {
	var chosen *Resource
	for _, name := range among {
		r := p.resources[name]
		if r == nil || !r.Select.Has(database, user) {
			continue
		}
		if chosen != nil {
			return nil, fmt.Errorf("resources %s and %s both select the session", chosen.Name, name)
		}
		chosen = &r.Resource
	}
	if chosen == nil {
		return nil, fmt.Errorf("none of the resources %v selects the session", among)
	}
	return chosen, nil
}
