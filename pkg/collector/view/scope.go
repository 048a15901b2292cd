package view

import (
	"slices"
	"strings"
)

// Scope says which sessions and approvals somebody may see: those of some
// resources, done for some repositories. The zero value sees nothing.
type Scope struct {
	all   bool
	Pairs []Pair
}

// Pair allows what is both of one of the resources and of one of the
// repositories. A list that is empty allows all; an entry that ends in /*
// stands for all that begin so. What belongs to no repository that is known is
// seen only by those who see all repositories.
type Pair struct {
	Resources    []string
	Repositories []string
}

// Everything is the scope of somebody who sees all.
func Everything() Scope { return Scope{all: true} }

// NewScope joins pairs. A pair without limits sees everything.
func NewScope(pairs ...Pair) Scope {
	for _, p := range pairs {
		if len(p.Resources) == 0 && len(p.Repositories) == 0 {
			return Everything()
		}
	}
	return Scope{Pairs: pairs}
}

// All reports whether nothing is hidden.
func (s Scope) All() bool { return s.all }

// Nothing reports whether everything is hidden.
func (s Scope) Nothing() bool { return !s.all && len(s.Pairs) == 0 }

// Sees reports whether something of a resource, done for a repository, may be
// seen.
func (s Scope) Sees(resource, repository string) bool {
	return s.all || slices.ContainsFunc(s.Pairs, func(p Pair) bool {
		return among(p.Resources, resource) && among(p.Repositories, repository)
	})
}

func among(allowed []string, name string) bool {
	return len(allowed) == 0 || slices.ContainsFunc(allowed, func(entry string) bool {
		if prefix, ok := Below(entry); ok {
			return strings.HasPrefix(name, prefix)
		}
		return entry == name
	})
}

// Below returns what all names that an entry like "acme/*" stands for begin
// with, and whether it is such an entry.
func Below(entry string) (prefix string, ok bool) {
	prefix, ok = strings.CutSuffix(entry, "/*")
	return prefix + "/", ok
}
