package postgres

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mask"
)

// unproven hides a value of which nobody knows where it comes from.
var unproven = rule{Column: mask.Column{Method: mask.Redact}}

// carried returns what hides a value, nil for one that provably holds nothing
// of a masked column. Names decide, whatever the schema: a name that is not
// known may be anything.
func (c *catalog) carried(o *lineage.Output) *rule {
	if o.Unknown {
		return &unproven
	}
	var found *rule
	alone := o.Direct
	for _, source := range o.Sources {
		by := c.source(source)
		switch {
		case by == nil:
		case found == nil:
			found = by
		case found != by:
			alone = alone && found.Method == by.Method && len(found.paths)+len(by.paths) == 0
		}
	}
	if found == nil || alone {
		return found
	}
	return found.derived()
}

// derived is what hides a value that is computed from the rule's column.
func (r *rule) derived() *rule {
	method := mask.Redact
	if r.Method == mask.Null {
		method = mask.Null
	}
	return &rule{Column: mask.Column{Mask: r.Mask, Method: method}}
}

// source returns the rule of a column as a text names it.
func (c *catalog) source(s lineage.Source) *rule {
	last := lastPart(s.Relation)
	if c.meaning(s.Relation) == clean {
		if _, known := c.names[last]; known || system(s.Relation) {
			return nil
		}
		return &unproven
	}
	known := c.byName[last]
	if len(known) == 0 {
		return &unproven // it was configured under that name and is not found
	}
	for _, r := range known {
		if by := r.column(s.Column); by != nil {
			return by
		}
	}
	if c.names[last] == opaque && !slices.ContainsFunc(known, func(r *relation) bool { return r.opaque != "" }) {
		return &unproven
	}
	return nil
}

// column returns the rule of the column of that name.
func (r *relation) column(name string) *rule {
	if r.opaque != "" {
		return &rule{Column: mask.Column{Mask: r.opaque, Method: mask.Redact}}
	}
	if name == "*" {
		return r.any()
	}
	return r.columns[name]
}

// any returns what hides a whole row, nil for one in which nothing is masked.
func (r *relation) any() *rule {
	for _, by := range r.masked {
		return by.derived()
	}
	return nil
}

// system reports whether a name that is not among the relations is the
// server's own, which hold no values of others.
func system(name string) bool {
	return strings.HasPrefix(lastPart(name), "pg_") || strings.HasPrefix(name, "information_schema.")
}

// judge sets what hides each column of a result. A column of a table is judged
// by its number; another one by the text, and by nothing where the statement
// concerns no masked relation.
func (c *catalog) judge(l *layout, touched bool, trace *lineage.Trace) {
	l.judged, l.masked = c.readings, false
	for i := range l.fields {
		f := &l.fields[i]
		by, certain := c.stored(f)
		if !certain && touched {
			o := lineage.Output{Unknown: true}
			if trace != nil {
				o = trace.At(i, len(l.fields))
			}
			by = c.carried(&o)
		}
		f.hide(by)
		l.masked = l.masked || by != nil
	}
}

// stored returns the rule of a column that the server gives a number; certain
// is false where it gives none.
func (c *catalog) stored(f *field) (by *rule, certain bool) {
	if !c.needed() {
		return nil, true
	}
	if f.table == 0 {
		return nil, false
	}
	r := c.relations[f.table]
	switch {
	case r == nil && f.table < firstUserOID:
		return nil, true
	case r == nil:
		return &unproven, true // we have not heard of it
	case r.opaque != "":
		return r.column("*"), true
	case f.column <= 0: // a whole row; system columns are not worth a case
		return r.any(), true
	}
	return r.masked[f.column], true
}

// hide makes a field's values what a rule wants, or leaves them.
func (f *field) hide(by *rule) {
	f.method, f.paths, f.mask = "", nil, ""
	if by == nil {
		return
	}
	f.mask, f.paths = by.Mask, by.paths
	if len(by.paths) == 0 {
		f.method = by.Method
	}
}
