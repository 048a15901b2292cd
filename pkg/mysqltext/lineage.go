package mysqltext

import "slices"

// OfVariable is the Relation of a Source or Written that is a user variable:
// Column is its name, in lower case. No relation is named so.
const OfVariable = "@"

// Source is a column that a value may come from, by the names of the text.
type Source struct {
	Relation string // as in Statement.Relations
	Column   string // in lower case; "*" for any
}

// Output is one column of a result, or several under a star.
//
// It promises to name every relation's column that the value may come from.
// It names more where only a catalog could tell: a name without qualifier may
// be any relation's in scope. A predicate that decides whether there is a row
// is no source, nor is what is counted or tested for NULL.
type Output struct {
	Name    string // in lower case; "" where it cannot be told
	Sources []Source
	Unknown bool // it may come from anywhere: from a function that is not known, or a name that is not in scope
	Direct  bool // it is a column's own value
	Star    bool // it stands for any number of columns

	items []*item // of a star
}

// Written is what a statement puts into a column of a relation, or into a user
// variable.
type Written struct {
	Relation string
	Column   string // "" where the text does not tell
	Output
}

// Lineage is where the values of a statement come from.
type Lineage struct {
	Outputs []Output // of its result; empty where it has none
	Written []Written
}

// At returns what the column i of n may be. With stars, of which nobody knows
// how many columns they stand for, it may be several.
func (l *Lineage) At(i, n int) Output {
	first := slices.IndexFunc(l.Outputs, func(o Output) bool { return o.Star })
	if first < 0 {
		if n != len(l.Outputs) {
			return Output{Unknown: true}
		}
		return l.Outputs[i]
	}
	last := first
	for j := range l.Outputs {
		if l.Outputs[j].Star {
			last = j
		}
	}
	behind := len(l.Outputs) - 1 - last
	switch {
	case n < first+behind:
		return Output{Unknown: true}
	case i < first:
		return l.Outputs[i]
	case i >= n-behind:
		return l.Outputs[len(l.Outputs)-(n-i)]
	}
	return union(l.Outputs[first : last+1]...)
}

// Column returns what the column of that name is, in lower case, of those that
// a star stands for: a star keeps the names of what it is of. Where the server
// gives a column a name that it has not, it may come from anywhere.
func (o *Output) Column(name string) Output {
	t := &tracer{}
	all, known := Output{}, 0
	direct := true
	for _, it := range o.items {
		if p, found := it.column(name, t); found {
			known++
			direct = direct && p.Direct
			all.add(p)
		}
	}
	all.Name, all.Direct = name, direct && known == 1
	all.Unknown = all.Unknown || o.Unknown || known == 0 || t.lost
	return all
}

// add makes o come from where p does too.
func (o *Output) add(p Output) {
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

// maxSources bounds what one value is followed to. One from more columns may
// come from anywhere.
const maxSources = 256

// union is what may be any of outputs, without a name.
func union(outputs ...Output) Output {
	var all Output
	for _, o := range outputs {
		all.add(o)
	}
	return all
}
