package postgres

import (
	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// build makes the session's view from the rows that the server sent.
func (c *catalog) build() {
	b := builder{
		relations:   make(map[uint32]*relation),
		columns:     make(map[uint32]map[string]int16),
		relatives:   make(map[uint32][]uint32),
		sources:     make(map[uint32][]uint32),
		reactions:   make(map[uint32][]uint32),
		readers:     make(map[uint32][]uint32),
		definitions: make(map[uint32][]lineage.Output),
		functions:   make(map[string]function),
		computed:    make(map[*rule]*rule),
		via:         make(map[place]linkKind),
		taken: sqltext.Taken{
			Functions: make(map[string]bool), Operators: make(map[string]bool), Types: make(map[string]bool), RowCalls: make(map[string]bool),
		},
		running: make(map[uint32]bool),
		setting: make(map[uint32]bool),
	}
	for i := range c.rows {
		b.take(&c.rows[i])
	}
	c.builtins.taken, c.read = b.taken, true
	for i := range c.rows {
		if c.rows[i].kind == 'v' {
			b.define(c.rows[i].oid, c.understand(c.rows[i].second))
		}
	}
	c.rows = nil
	c.readings++
	c.names = make(map[string]taint)
	c.setters = b.reaching(b.setting)
	if c.follow {
		c.behind, c.beyond = b.behind(false), b.behind(true)
		c.running = b.reaching(b.running)
	}
	if !c.needed() {
		for _, r := range b.relations {
			c.names[quoted(r.name)] = clean
		}
		c.lend()
		return
	}
	remembered := c.remembered()
	for i := range c.rules {
		m := &c.rules[i]
		if p, ok := b.find(&m.Column); ok {
			remembered[m.Column] = append(remembered[m.Column], p)
		}
		if !b.maskPlaces(remembered[m.Column], m) {
			c.names[quoted(m.Table)] = opaque // whatever has this name may be what was meant
		}
	}
	b.maskLinked()
	for i := range c.rules {
		if places := b.places(&c.rules[i]); len(places) > 0 {
			c.remember(c.rules[i].Column, places)
		}
	}
	b.maskRevealed()
	c.maskViews(&b)
	c.relations, c.functions = b.relations, b.functions
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

// maskPlaces marks where a masked column was found, and reports whether the
// column itself is still there.
func (b *builder) maskPlaces(places []place, m *rule) (found bool) {
	for _, p := range places {
		switch {
		case b.columnName(p) == "":
		case p.link != noLink:
			b.mark(p, m)
		default:
			found = true
			b.mask(p, m)
		}
	}
	return found
}

// builder closes the masks over inheritance and views.
type builder struct {
	relations map[uint32]*relation
	columns   map[uint32]map[string]int16 // of the columns with masked names
	relatives map[uint32][]uint32         // parents and children
	sources   map[uint32][]uint32         // what a relation reads, or is made of
	reactions map[uint32][]uint32         // what rules touch when a relation is written
	readers   map[uint32][]uint32         // the views that read a relation
	calling   []uint32                    // the views that call a user's function
	links     []link
	via       map[place]linkKind // of columns that are hidden by a link
	computed  map[*rule]*rule    // what hides what is computed from a rule's column
	functions map[string]function
	taken     sqltext.Taken
	running   map[uint32]bool // what runs users' code when it is read, or sets parameters
	setting   map[uint32]bool // views of pg_settings: who writes them sets parameters
	// definitions are the columns of the views that may read something masked,
	// as far as these are understood.
	definitions map[uint32][]lineage.Output
}

func (b *builder) take(row *catalogRow) {
	switch row.kind {
	case 'F':
		b.taken.Functions[row.second] = true
	case 'O':
		b.taken.Operators[row.second] = true
	case 'T':
		b.taken.Types[row.second] = true
	case 'C':
		b.taken.RowCalls[row.second] = true
	case 'l':
		b.running[row.oid] = true
	case 'q':
		b.running[row.oid], b.setting[row.oid] = true, true
	case 'r':
		b.relations[row.oid] = &relation{schema: row.second, name: row.third, masked: make(map[int16]*rule)}
	case 'p':
		known, there := b.functions[row.second]
		b.functions[row.second] = function{there: true, steady: row.third == "true" && (!there || known.steady)}
	case 'i':
		b.relatives[row.oid] = append(b.relatives[row.oid], row.secondN)
		b.relatives[row.secondN] = append(b.relatives[row.secondN], row.oid)
		b.sources[row.secondN] = append(b.sources[row.secondN], row.oid)
	case 'd':
		if row.third == ruleOnSelect {
			b.sources[row.oid] = append(b.sources[row.oid], row.secondN)
		} else {
			b.reactions[row.oid] = append(b.reactions[row.oid], row.secondN)
		}
		b.readers[row.secondN] = append(b.readers[row.secondN], row.oid)
	case 'f':
		b.calling = append(b.calling, row.oid)
	case 'a':
		b.nameColumn(row.oid, row.third, int16(row.secondN))
	case 'k':
		b.takeLink(references, row)
	case 'g':
		b.takeLink(generated, row)
	}
}

// find returns where a masked column is by its name.
func (b *builder) find(m *mask.Column) (place, bool) {
	for oid, r := range b.relations {
		if r.schema != m.Schema || r.name != m.Table {
			continue
		}
		if column, ok := b.columns[oid][m.Column]; ok {
			return place{table: oid, column: column}, true
		}
	}
	return place{}, false
}

// places are all columns that a rule hides. They stay hidden when the table
// leaves the inheritance tree or the column changes its name.
func (b *builder) places(m *rule) []place {
	var all []place
	for oid, r := range b.relations {
		for column, by := range r.masked {
			if by == m || by == b.computed[m] {
				p := place{table: oid, column: column}
				p.link = b.via[p]
				all = append(all, p)
			}
		}
	}
	return all
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
