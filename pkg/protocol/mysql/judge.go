package mysql

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/mysqltext"
)

// load is what a value may carry.
type load struct {
	masked bool
	method mask.Method // of the one mask that it is about; empty: of several, or nobody knows
	paths  []*mask.Path
	mask   string
}

// carries is what an output of a statement may carry.
func (k *masking) carries(o *lineage.Output, database string) load {
	if o.Unknown {
		return load{masked: true}
	}
	var all load
	for _, source := range o.Sources {
		one := k.source(source.Relation, source.Column, database, 0)
		if !one.masked {
			continue
		}
		if all.masked || !o.Direct || len(o.Sources) > 1 {
			one.method, one.paths = "", nil
		}
		all = one
	}
	return all
}

// source is what a column that is named may carry; "*" is any.
func (k *masking) source(name, column, database string, depth int) load {
	if name == mysqltext.OfVariable {
		return load{masked: k.tainted}
	}
	known := k.of(name, database)
	schema, table := resolve(name, database)
	switch {
	case known == nil || depth > maxReads:
		return load{masked: true}
	case known.kind == plainCatalog:
		return load{}
	case known.kind == viewRelation:
		return k.viewSource(known, schema, table, column, depth)
	case known.kind != baseTable:
		return load{masked: true}
	}
	return k.stored(known, schema, table, column, nil)
}

func ascii(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 })
}

// viewSource is source of a view's column. A mask may speak of the view itself.
func (k *masking) viewSource(known *relation, schema, table, column string, depth int) load {
	if known.view == nil || known.lacks {
		return load{masked: true}
	}
	if slices.Contains(known.columns, strings.ToLower(column)) {
		if c := k.maskOf(schema, table, column); c != nil {
			return load{masked: true, method: c.Method, mask: c.Mask}
		}
		return load{masked: true}
	}
	if (column == "*" || !ascii(column)) && len(known.columns) > 0 {
		return load{masked: true}
	}
	found := false
	var all load
	outputs := known.view.Statements[0].Lineage.Outputs
	for i := range outputs {
		o := &outputs[i]
		if column != "*" && !o.Star && o.Name != "" && !strings.EqualFold(o.Name, column) {
			continue
		}
		found = true
		if o.Unknown {
			return load{masked: true}
		}
		for _, s := range o.Sources {
			inner := s.Column
			if o.Star && inner == "*" && column != "*" {
				inner = column
			}
			if one := k.source(s.Relation, inner, known.schema, depth+1); one.masked {
				if all.masked || !o.Direct || len(o.Sources) > 1 || column == "*" {
					one.method, one.paths = "", nil
				}
				all = one
			}
		}
	}
	if !found {
		return load{masked: true} // the view is not what it was
	}
	return all
}

// judge decides what of each column of a result the client may see.
func (c *conversation) judge() {
	k, l, o := &c.masking, &c.reply.layout, c.reply.op
	l.changes = len(k.set.Detect) > 0
	if o == nil || !k.set.Placed() {
		return
	}
	for i := range l.fields {
		f := &l.fields[i]
		if slices.Contains(o.reach.names, strings.ToLower(f.name)) {
			f.hide(load{})
		}
	}
	if o.reach.touched {
		s := c.answering(o)
		for i := range l.fields {
			c.judgeField(&l.fields[i], s, i, len(l.fields))
		}
	}
	l.changes = l.changes || slices.ContainsFunc(l.fields, func(f field) bool { return f.method != "" || len(f.paths) > 0 })
}

// answering is the statement of a text whose result comes now; nil where nobody
// knows. Each statement that is let run where masks apply has one result.
func (c *conversation) answering(o *op) *mysqltext.Statement {
	if o.analysis == nil {
		return nil
	}
	at := o.at
	for i := range o.analysis.Statements {
		s := &o.analysis.Statements[i]
		if s.Nested {
			continue
		}
		if at > 0 {
			at--
			continue
		}
		if s.Kind == "EXECUTE" {
			ran := c.masking.runs(s.Runs, c.standing.database)
			if ran == nil || len(ran.Statements) == 0 {
				return nil
			}
			return &ran.Statements[0]
		}
		return s
	}
	return nil
}

// judgeField decides about column i of n. It passes when the text proves that
// it carries nothing masked, and the server's own word does not speak against
// that.
func (c *conversation) judgeField(f *field, s *mysqltext.Statement, i, n int) {
	if s == nil || s.Lineage == nil {
		f.hide(load{})
		return
	}
	k := &c.masking
	var carried load
	for _, out := range possible(s.Lineage.Outputs, i, n) {
		if one := k.carriesAs(&out, f, c.standing.database); one.masked {
			if carried.masked {
				one.method, one.paths = "", nil
			}
			carried = one
		}
	}
	switch {
	case carried.masked:
		f.hide(carried)
	case f.origin(k):
		f.hide(load{})
	}
}

// possible are the outputs that column i of n may be: one, but for stars, of
// which nobody knows how many columns they stand for.
func possible(outputs []lineage.Output, i, n int) []lineage.Output {
	first, last := -1, -1
	for j := range outputs {
		if outputs[j].Star {
			if first < 0 {
				first = j
			}
			last = j
		}
	}
	behind := len(outputs) - 1 - last
	switch {
	case first < 0 && n != len(outputs), first >= 0 && n < first+behind:
		return []lineage.Output{{Unknown: true}}
	case first < 0 || i < first:
		return outputs[i : i+1]
	case i >= n-behind:
		return outputs[len(outputs)-(n-i):][:1]
	}
	return outputs[first : last+1]
}

// carriesAs is carries for a column of a result.
func (k *masking) carriesAs(o *lineage.Output, f *field, database string) load {
	if !o.Star {
		return k.carries(o, database)
	}
	if all := k.carries(o, database); !all.masked {
		return all
	}
	column := o.Column(strings.ToLower(f.name))
	return k.carries(&column, database)
}

// origin reports whether the server itself calls a column a masked one.
func (f *field) origin(k *masking) bool {
	return f.orgName != "" && (k.maskOf(f.schema, f.orgTable, f.orgName) != nil || len(k.pathsOf(f.schema, f.orgTable, f.orgName)) > 0)
}

// hide has a column's values hidden.
func (f *field) hide(by load) {
	f.method, f.paths, f.mask = by.method, by.paths, by.mask
	if f.method == "" && len(f.paths) == 0 {
		f.method = mask.Redact
	}
}
