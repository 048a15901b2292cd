package policy

import (
	"fmt"
	"reflect"
	"slices"
)

// SameResources reports, as an error, what of the resources is written
// otherwise in another policy: one whose rules, masks and default alone differ
// can take this one's place while sessions are open.
func (p *Policy) SameResources(other *Policy) error {
	named := func(clauses []resourceClause) (names []string) {
		for _, c := range clauses {
			names = append(names, c.Name)
		}
		slices.Sort(names)
		return names
	}
	if here, there := named(p.clauses), named(other.clauses); !slices.Equal(here, there) {
		return fmt.Errorf("its resources are %v, and those of this node's file are %v", there, here)
	}
	for _, mine := range p.clauses {
		i := slices.IndexFunc(other.clauses, func(c resourceClause) bool { return c.Name == mine.Name })
		if !reflect.DeepEqual(mine, other.clauses[i]) {
			return fmt.Errorf("resource %s is written otherwise in this node's file", mine.Name)
		}
	}
	return nil
}

// SameAnswers reports whether two policies hide the same in a resource and ask
// the same of its protocol, so that a session that is open can go on under the
// other's rules.
func (p *Policy) SameAnswers(other *Policy, resource string) bool {
	return reflect.DeepEqual(p.Masks(resource), other.Masks(resource)) && p.ReadsSQL(resource) == other.ReadsSQL(resource)
}
