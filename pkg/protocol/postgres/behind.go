package postgres

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// A rule speaks of relations by their names, and a statement may reach one by
// another's: a view's, or the name of a table whose partition it is. So each
// statement is shown to rules with the relations behind those that it names.

// maxBehind bounds what a statement is said to reach. One that reaches more is
// not understood.
const maxBehind = 1024

// ruleOnSelect is pg_rewrite.ev_type of what makes a relation a view.
const ruleOnSelect = "1"

// behind returns for each relation, by the last part of its name, the
// relations that it reads or is made of, however far away, with their schemas;
// when it is written, also those that rules touch. Relations of one name in
// several schemas are taken for one.
func (b *builder) behind(written bool) map[string][]string {
	next := func(oid uint32) []uint32 {
		if !written {
			return b.sources[oid]
		}
		return slices.Concat(b.sources[oid], b.reactions[oid])
	}
	found := make(map[string][]string)
	for oid, r := range b.relations {
		todo := next(oid)
		if len(todo) == 0 {
			continue
		}
		// Bounded by its own names alone, which are all different: what is cut off
		// is then too much, whatever another relation of the name brings.
		var names []string
		for seen := map[uint32]bool{oid: true}; len(todo) > 0 && len(names) <= maxBehind; todo = todo[1:] {
			one := todo[0]
			if s := b.relations[one]; s != nil && !seen[one] {
				names = append(names, quoted(s.schema)+"."+quoted(s.name))
				todo = slices.Concat(todo, next(one))
			}
			seen[one] = true
		}
		names = append(names, found[quoted(r.name)]...)
		slices.Sort(names)
		found[quoted(r.name)] = slices.Compact(names)
	}
	return found
}

// reaching returns the last parts of the names of relations, and of the views that
// read them.
func (b *builder) reaching(relations map[uint32]bool) map[string]bool {
	names, seen := make(map[string]bool), make(map[uint32]bool)
	readers := make(map[uint32][]uint32)
	for reader, sources := range b.sources {
		for _, source := range sources {
			readers[source] = append(readers[source], reader)
		}
	}
	var visit func(oid uint32)
	visit = func(oid uint32) {
		r := b.relations[oid]
		if seen[oid] || r == nil {
			return
		}
		seen[oid], names[quoted(r.name)] = true, true
		for _, reader := range readers[oid] {
			visit(reader)
		}
	}
	for oid := range relations {
		visit(oid)
	}
	return names
}

// runs reports whether a statement reaches what runs users' code.
func (c *catalog) runs(s *sqltext.Statement) bool { return namesOne(s.Relations, c.running) }

// sets reports whether a statement sets parameters by what it writes.
func (c *catalog) sets(s *sqltext.Statement) bool { return namesOne(s.Writes, c.setters) }

func namesOne(relations []string, known map[string]bool) bool {
	return len(known) > 0 && slices.ContainsFunc(relations, func(name string) bool { return known[lastPart(name)] })
}

// old reports whether the catalog has to be read before a text is shown to the
// rules.
func (c *catalog) old(analysis *sqltext.Analysis) bool {
	return !steers(analysis) && (c.stale() || c.follow && !c.knows(analysis))
}

// addStatement shows a statement to the rules, with the relations behind its
// own.
func (o *op) addStatement(s *sqltext.Statement, names *catalog) {
	shown := s.SQLStatement
	for _, name := range s.Relations {
		if more := names.behind[lastPart(name)]; len(more) > 0 {
			shown.Relations = slices.Concat(shown.Relations, more)
		}
	}
	for _, name := range s.Writes {
		if more := names.beyond[lastPart(name)]; len(more) > 0 {
			shown.Relations = slices.Concat(shown.Relations, more)
		}
	}
	if names.runs(s) {
		shown.Opaque, o.Operation.ReadOnly = true, false
	}
	if len(shown.Relations) > len(s.Relations)+maxBehind {
		o.Operation.Parsed = false
	}
	o.sql.Statements = append(o.sql.Statements, shown)
}

// joinDefinitions shows each statement behind a definition of the same text
// with the relations of the definition: it may reach them by a name that
// nobody knows yet.
func (o *op) joinDefinitions() {
	var defined []string
	for i := range o.sql.Statements {
		s := &o.sql.Statements[i]
		if len(defined) > 0 {
			s.Relations = slices.Concat(s.Relations, defined)
		}
		if s.Class == operation.DDL {
			defined = s.Relations
		}
	}
}
