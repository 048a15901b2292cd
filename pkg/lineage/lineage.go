// Package lineage is where the values of an SQL statement may come from, by the
// names of its text: what the readers of PostgreSQL's and of MySQL's statements
// have in common.
//
// It promises to name every relation's column that a value may come from. It
// names more where only a catalog could tell: a name without qualifier may be
// any relation's in scope. A predicate that decides whether there is a row is
// no source, nor is what is counted or tested for NULL. It reads no text and
// knows no scopes: those are the readers'.
package lineage

import "slices"

// Source is a column that a value may come from, by the names of the text.
type Source struct {
	Relation string // as the reader names relations
	Column   string // as the reader folds it; "*" for any
}

// Output is one column of a result, or several under a star.
type Output struct {
	Name    string // as the reader folds it; "" where it cannot be told
	Sources []Source
	Unknown bool // it may come from anywhere: from a function that is not known, or a name that is not in scope
	Direct  bool // it is a column's own value
	Star    bool // it stands for any number of columns

	items []*Item // of a star
}

// Written is what a statement puts into a column of a relation.
type Written struct {
	Relation string
	Column   string // "" where the text does not tell
	Output
}

// Trace is where the values of a statement come from.
type Trace struct {
	Outputs []Output // of its result; empty where it has none
	Written []Written
}

// At returns what the column i of n may be. With stars, of which nobody knows
// how many columns they stand for, it may be several.
func (t *Trace) At(i, n int) Output {
	first := slices.IndexFunc(t.Outputs, isStar)
	if first < 0 {
		if n != len(t.Outputs) {
			return Output{Unknown: true}
		}
		return t.Outputs[i]
	}
	last := first
	for j := range t.Outputs {
		if t.Outputs[j].Star {
			last = j
		}
	}
	behind := len(t.Outputs) - 1 - last
	switch {
	case n < first+behind:
		return Output{Unknown: true}
	case i < first:
		return t.Outputs[i]
	case i >= n-behind:
		return t.Outputs[len(t.Outputs)-(n-i)]
	}
	return Union(t.Outputs[first : last+1]...)
}

// Size returns what a trace holds, in bytes, roughly. Names are shared.
func (t *Trace) Size() int {
	if t == nil {
		return 0
	}
	n := 0
	for i := range t.Outputs {
		n += 128 + 32*len(t.Outputs[i].Sources)
	}
	for i := range t.Written {
		n += 192 + 32*len(t.Written[i].Sources)
	}
	return n
}

func isStar(o Output) bool { return o.Star }

// HasStar reports whether one of outputs stands for any number of columns.
func HasStar(outputs []Output) bool { return slices.ContainsFunc(outputs, isStar) }

// maxSources bounds what one value is followed to. One from more columns may
// come from anywhere.
const maxSources = 256

// Add makes o come from where p does too.
func (o *Output) Add(p Output) {
	o.Unknown = o.Unknown || p.Unknown
	for _, s := range p.Sources {
		if !slices.Contains(o.Sources, s) {
			o.Sources = append(o.Sources, s)
		}
	}
	if len(o.Sources) > maxSources {
		o.Unknown, o.Sources = true, nil
	}
}

// Union is what may be any of outputs, without a name.
func Union(outputs ...Output) Output {
	var all Output
	for _, o := range outputs {
		all.Add(o)
	}
	return all
}

// Spread is any number of columns, each of which may be any of outputs.
func Spread(outputs ...Output) Output {
	all := Union(outputs...)
	all.Star = true
	all.items = []*Item{{Any: &Output{Sources: all.Sources, Unknown: all.Unknown}}}
	return all
}

// Star is all columns of items.
func Star(items []*Item, b *Budget) Output {
	all := Output{Star: true, items: items, Unknown: len(items) == 0}
	for _, it := range items {
		all.Add(it.Whole(b))
	}
	return all
}

// Zip is the result of a set operation.
func Zip(left, right []Output) []Output {
	if len(left) != len(right) || HasStar(left) || HasStar(right) {
		return []Output{Spread(slices.Concat(left, right)...)}
	}
	both := make([]Output, len(left))
	for i := range left {
		both[i] = Union(left[i], right[i])
		both[i].Name = left[i].Name
		both[i].Direct = left[i].Direct && right[i].Direct
	}
	return both
}

// Blur is the result of a query that reads itself: each column may be any.
func Blur(outputs []Output) []Output {
	all := Union(outputs...)
	blurred := make([]Output, len(outputs))
	for i, o := range outputs {
		blurred[i] = Output{Name: o.Name, Sources: all.Sources, Unknown: all.Unknown, Star: o.Star, items: []*Item{{Any: &all}}}
	}
	return blurred
}

// Column returns what the column of that name is of those that a star stands
// for: a star keeps the names of what it is of. Where the server gives a column
// a name that it has not, it may come from anywhere.
func (o *Output) Column(name string) Output {
	var b Budget
	all, known, direct := Output{}, 0, true
	for _, it := range o.items {
		if p, found := it.Column(name, &b); found {
			known++
			direct = direct && p.Direct
			all.Add(p)
		}
	}
	all.Name, all.Direct = name, direct && known == 1
	all.Unknown = all.Unknown || o.Unknown || known == 0 || b.Spent()
	return all
}

// Forget lets go of what a star stands for: Column does not know it any more.
func (o *Output) Forget() { o.items = nil }
