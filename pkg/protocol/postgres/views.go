package postgres

import (
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// revealed are the columns of the server's own relations that hold values of
// other relations, or what other sessions run.
var revealed = map[string][]string{
	"pg_statistic":          {"stavalues1", "stavalues2", "stavalues3", "stavalues4", "stavalues5"},
	"pg_stats":              {"most_common_vals", "histogram_bounds", "most_common_elems", "range_bounds_histogram"},
	"pg_statistic_ext_data": {"stxdmcv", "stxdexpr"},
	"pg_stats_ext":          {"most_common_vals", "most_common_base_freqs"},
	"pg_stats_ext_exprs":    {"most_common_vals", "histogram_bounds", "most_common_elems", "range_bounds_histogram"},
	"pg_attribute":          {"attmissingval"}, // the value of rows that are older than the column
	"pg_stat_activity":      {"query"},
	"pg_stat_statements":    {"query"},
	"pg_largeobject":        {"data"},
}

// revealing hides what the server's own relations reveal.
var revealing = rule{Column: mask.Column{Mask: "the server's own statistics", Method: mask.Redact}}

// maskRevealed marks the columns that reveal.
func (b *builder) maskRevealed() {
	for oid, r := range b.relations {
		names := revealed[r.name]
		if names == nil {
			continue
		}
		for _, name := range names {
			if column, ok := b.columns[oid][name]; ok {
				r.masked[column] = &revealing
			}
		}
		if len(r.masked) == 0 {
			r.opaque = revealing.Mask // it has other columns than we know
		}
	}
}

// maskViews follows values through views, however deep: each column of a view
// is hidden by what it may carry. A view whose definition is not known may
// show anything of what it reads.
func (c *catalog) maskViews(b *builder) {
	for again := true; again; {
		again = false
		c.index(b)
		for _, view := range b.suspects() {
			again = c.maskView(b, view) || again
		}
	}
	c.index(b)
	c.reading = b.reading()
	c.columns = make(map[string]bool)
	for i := range c.rules {
		c.columns[quoted(c.rules[i].Column.Column)] = true
	}
	for _, r := range b.relations {
		for name := range r.columns {
			c.columns[quoted(name)] = true
		}
	}
}

// suspects are the views that read a tainted relation or call a user's
// function.
func (b *builder) suspects() []uint32 {
	seen := map[uint32]bool{}
	var found []uint32
	add := func(view uint32) {
		if r := b.relations[view]; r != nil && !seen[view] && r.opaque == "" {
			seen[view] = true
			found = append(found, view)
		}
	}
	for oid, r := range b.relations {
		if r.taint() == clean {
			continue
		}
		for _, view := range b.readers[oid] {
			if view != oid {
				add(view)
			}
		}
	}
	for _, view := range b.calling {
		add(view)
	}
	return found
}

// reading returns the names of what reads a tainted relation, or calls a user's
// function, however far away.
func (b *builder) reading() map[string]bool {
	names, seen := make(map[string]bool), make(map[uint32]bool)
	var visit func(oid uint32)
	visit = func(oid uint32) {
		r := b.relations[oid]
		if seen[oid] || r == nil {
			return
		}
		seen[oid], names[quoted(r.name)] = true, true
		for _, reader := range b.readers[oid] {
			visit(reader)
		}
	}
	for oid, r := range b.relations {
		if r.taint() != clean {
			visit(oid)
		}
	}
	for _, view := range b.calling {
		visit(view)
	}
	return names
}

// maskView judges one view's columns and reports whether that changed.
func (c *catalog) maskView(b *builder, oid uint32) (changed bool) {
	r := b.relations[oid]
	outputs := b.definitions[oid]
	if len(outputs) == 0 {
		r.opaque = "a view whose definition is not understood"
		return true
	}
	for i := range outputs {
		column := int16(i + 1) // a view's columns cannot be dropped
		if r.masked[column] != nil {
			continue
		}
		if by := c.carried(&outputs[i]); by != nil {
			r.masked[column] = by
			if r.columns == nil {
				r.columns = make(map[string]*rule)
			}
			r.columns[outputs[i].Name] = by
			changed = true
		}
	}
	return changed
}

// define keeps what a view's columns are. A definition that is not understood,
// or whose columns have no names, is left out.
func (b *builder) define(oid uint32, analysis *sqltext.Analysis) {
	if analysis == nil || len(analysis.Statements) == 0 || analysis.Statements[0].Lineage == nil {
		return
	}
	outputs := analysis.Statements[0].Lineage.Outputs
	for i := range outputs {
		if outputs[i].Star || outputs[i].Name == "" {
			return
		}
	}
	b.definitions[oid] = outputs
}

// index makes names find relations.
func (c *catalog) index(b *builder) {
	c.byName, c.ambiguous = make(map[string][]*relation), make(map[string]bool)
	for oid, r := range b.relations {
		name := quoted(r.name)
		c.names[name] = max(c.names[name], r.taint())
		if r.taint() == clean {
			c.ambiguous[name] = true
			continue
		}
		for column, number := range b.columns[oid] {
			if by := r.masked[number]; by != nil {
				if r.columns == nil {
					r.columns = make(map[string]*rule)
				}
				r.columns[column] = by
			}
		}
		c.byName[name] = append(c.byName[name], r)
	}
}
