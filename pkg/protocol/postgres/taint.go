package postgres

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// build makes the session's view from the rows that the server sent.
func (c *catalog) build() {
	b := builder{
		relations: make(map[uint32]*relation),
		columns:   make(map[uint32]map[string]int16),
		relatives: make(map[uint32][]uint32),
		readers:   make(map[uint32][]uint32),
		shadowed:  true, // until the server says that it is not
	}
	for i := range c.rows {
		b.take(&c.rows[i])
	}
	c.builtins.trusted = !b.shadowed
	c.read, c.rows = true, nil
	if !c.needed() {
		c.lend()
		return
	}
	c.names = make(map[string]taint)
	remembered := c.remembered()
	for i := range c.rules {
		m := &c.rules[i]
		p, ok := b.find(&m.Column, remembered)
		if !ok {
			c.names[quoted(m.Table)] = opaque // whatever has this name may be what was meant
			continue
		}
		c.remember(m.Column, p)
		b.mask(p, m)
	}
	b.taintViews()
	for _, r := range b.relations {
		c.names[quoted(r.name)] = max(c.names[quoted(r.name)], r.taint())
	}
	for _, name := range revealing {
		c.names[name] = opaque
	}
	c.relations, c.columns = b.relations, b.maskedNames()
	for i := range c.rules {
		c.columns[quoted(c.rules[i].Column.Column)] = true
	}
}

// lend tells later sessions what was learned.
func (c *catalog) lend() {
	c.targets.mu.Lock()
	defer c.targets.mu.Unlock()
	c.targets.builtins[dbKey{c.resource, c.database}] = c.builtins
}

// taint is what the relation's name stands for.
func (r *relation) taint() taint {
	switch {
	case r.opaque != "":
		return opaque
	case len(r.masked) > 0:
		return columns
	}
	return clean
}

// builder closes the masks over inheritance and views.
type builder struct {
	relations map[uint32]*relation
	columns   map[uint32]map[string]int16 // of the columns with masked names
	relatives map[uint32][]uint32         // parents and children
	readers   map[uint32][]uint32         // the views that read a relation
	calling   []uint32                    // the views that call a user's function
	shadowed  bool                        // a name of the server's own is somebody's too
}

func (b *builder) take(row *catalogRow) {
	switch row.kind {
	case 's':
		b.shadowed = row.second != "false"
	case 'r':
		b.relations[row.oid] = &relation{schema: row.second, name: row.third, masked: make(map[int16]*rule)}
	case 'i':
		b.relatives[row.oid] = append(b.relatives[row.oid], row.secondN)
		b.relatives[row.secondN] = append(b.relatives[row.secondN], row.oid)
	case 'd':
		b.readers[row.secondN] = append(b.readers[row.secondN], row.oid)
	case 'f':
		b.calling = append(b.calling, row.oid)
	case 'a':
		if b.columns[row.oid] == nil {
			b.columns[row.oid] = make(map[string]int16)
		}
		b.columns[row.oid][row.third] = int16(row.secondN)
	}
}

// find returns where a masked column is: by its name, or where it was when its
// name was still the configured one.
func (b *builder) find(m *mask.Column, remembered map[mask.Column]place) (place, bool) {
	for oid, r := range b.relations {
		if r.schema != m.Schema || r.name != m.Table {
			continue
		}
		if column, ok := b.columns[oid][m.Column]; ok {
			return place{oid, column}, true
		}
	}
	p, ok := remembered[*m]
	return p, ok && b.columnName(p) != ""
}

func (b *builder) columnName(p place) string {
	for name, column := range b.columns[p.table] {
		if column == p.column {
			return name
		}
	}
	return ""
}

// mask marks a column, and the column of that name in every table of the same
// inheritance tree. A relative that has none is opaque.
func (b *builder) mask(p place, m *rule) {
	name := b.columnName(p)
	seen := map[uint32]bool{}
	var visit func(oid uint32)
	visit = func(oid uint32) {
		r := b.relations[oid]
		if seen[oid] || r == nil {
			return
		}
		seen[oid] = true
		switch column, ok := b.columns[oid][name]; {
		case !ok:
			r.opaque = m.Mask
		case r.masked[column] == nil: // the policy's first mask of a column wins
			r.masked[column] = m
		}
		for _, relative := range b.relatives[oid] {
			visit(relative)
		}
	}
	visit(p.table)
}

// maskedNames are the present names of all masked columns.
func (b *builder) maskedNames() map[string]bool {
	names := make(map[string]bool)
	for oid, r := range b.relations {
		for name, column := range b.columns[oid] {
			if r.masked[column] != nil {
				names[quoted(name)] = true
			}
		}
	}
	return names
}

// taintViews makes opaque what reads a tainted relation, however far away, and
// what calls a function whose reading nobody knows.
func (b *builder) taintViews() {
	var spread func(oid uint32, by string)
	spread = func(oid uint32, by string) {
		for _, view := range b.readers[oid] {
			if r := b.relations[view]; r != nil && view != oid && r.opaque == "" {
				r.opaque = by
				spread(view, by)
			}
		}
	}
	for _, view := range b.calling {
		if r := b.relations[view]; r != nil {
			r.opaque = "a function in a view"
		}
	}
	for oid, r := range b.relations {
		if oid < firstUserOID || slices.Contains(revealing[:], r.name) {
			r.opaque = "the server's own statistics"
		}
	}
	for oid, r := range b.relations {
		switch {
		case r.opaque != "":
			spread(oid, r.opaque)
		case len(r.masked) > 0:
			spread(oid, wholeRow(r).mask)
		}
	}
}

// touch is what masks have to say about a text before it runs.
type touch struct {
	touched bool   // it may concern a masked relation: its columns must be proven
	refusal string // why no proof can help, or nothing
	mask    string // the mask that refuses
}

// installs are kinds that make the server run somebody's code later, when
// nothing in a statement's text shows it.
var installs = [...]string{
	"CREATE FUNCTION", "CREATE PROCEDURE", "CREATE TRIGGER", "CREATE EVENT TRIGGER", "CREATE RULE", "CREATE AGGREGATE",
	"CREATE OPERATOR", "CREATE CAST", "CREATE EXTENSION", "CREATE LANGUAGE", "CREATE TYPE", "CREATE DOMAIN",
	"CREATE PUBLICATION", "CREATE SUBSCRIPTION", "CREATE POLICY", "CREATE TRANSFORM", "CREATE CONVERSION",
	"CREATE SERVER", "CREATE FOREIGN TABLE", "CREATE FOREIGN DATA WRAPPER", "IMPORT FOREIGN SCHEMA", "ALTER FUNCTION",
}

// touch looks at every statement of a text.
func (c *catalog) touch(analysis *sqltext.Analysis) touch {
	if analysis == nil {
		return touch{touched: true, refusal: "sluice: this statement could not be understood, and columns are masked here"}
	}
	var t touch
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		fetches := s.Kind == "FETCH" // its columns tell where the cursor's come from
		names := slices.ContainsFunc(s.Relations, c.named) || slices.ContainsFunc(s.Writes, c.named)
		if !names && !s.Opaque && !slices.Contains(installs[:], s.Kind) {
			continue
		}
		t.touched = true
		switch {
		case slices.Contains(installs[:], s.Kind):
			t.refusal = "sluice: " + s.Kind + " could carry masked values where nobody sees them, so it is refused"
		case s.Class == operation.Copy:
			t.refusal = "sluice: COPY of a relation with masked columns is refused"
		case s.Opaque && !fetches:
			t.refusal = "sluice: this statement may read masked columns in a way that its text does not show, so it is refused"
		case c.carries(s):
			t.refusal = "sluice: this statement could copy masked values to where they are not masked, so it is refused"
		}
	}
	if t.touched && t.refusal == "" && several(analysis) {
		t.refusal = "sluice: a statement about masked columns must be sent by itself"
	}
	return t
}

// several reports whether a text has more than one statement by itself.
func several(analysis *sqltext.Analysis) bool {
	n := 0
	for i := range analysis.Statements {
		if !analysis.Statements[i].Nested {
			n++
		}
	}
	return n > 1
}

// carries reports whether a statement that names a tainted relation could move
// masked values into something else. It writes or defines, and it names a view
// of them, or an expression reads a column of a masked name, all columns, or a
// whole row, or may do so under another name. A DELETE alone moves nothing.
func (c *catalog) carries(s *sqltext.Statement) bool {
	if len(s.Writes) == 0 || s.Kind == "DELETE" && len(s.Writes) == 1 {
		return false
	}
	if s.Renames || slices.ContainsFunc(s.Relations, func(name string) bool { return c.meaning(name) == opaque }) {
		return true
	}
	return slices.ContainsFunc(s.Refs, func(ref string) bool {
		last := lastPart(ref)
		return last == "*" || c.columns[last] || slices.Contains(s.Aliases, ref) ||
			slices.ContainsFunc(s.Relations, func(name string) bool { return lastPart(name) == last })
	})
}
