package lineage

import "slices"

// Item is one thing that FROM lists: a relation, a query, or what may be
// anything of Any.
type Item struct {
	Name     string
	Relation string   // of a table or view
	Outputs  []Output // of a query
	Any      *Output  // what every column may be, of all others

	renamed bool // its columns have other names, and nobody knows which
}

// Column is what the item's column of that name may be; found is false where it
// has none.
func (it *Item) Column(name string, b *Budget) (o Output, found bool) {
	if !b.Spend() {
		return Output{Unknown: true}, true
	}
	switch {
	case it.Any != nil:
		return *it.Any, true
	case it.renamed:
		return it.Whole(b), true
	case it.Relation != "":
		return Output{Sources: []Source{{it.Relation, name}}, Direct: true}, true
	}
	direct := true
	take := func(p Output) {
		found, direct = true, direct && p.Direct
		o.Add(p)
	}
	for _, output := range it.Outputs {
		if output.Star {
			for _, inner := range output.items {
				if p, ok := inner.Column(name, b); ok {
					take(p)
				}
			}
			o.Unknown = o.Unknown || len(output.items) == 0
			found = found || len(output.items) == 0
		} else if output.Name == name || output.Name == "" {
			take(output)
		}
	}
	o.Direct = found && direct
	return o, found
}

// Whole is a row of the item.
func (it *Item) Whole(b *Budget) Output {
	if !b.Spend() {
		return Output{Unknown: true}
	}
	switch {
	case it.Any != nil:
		return Union(*it.Any)
	case it.Relation != "":
		return Output{Sources: []Source{{it.Relation, "*"}}}
	}
	return Union(it.Outputs...)
}

// Has reports whether a column of the item certainly has that name.
func (it *Item) Has(column string) bool {
	return slices.ContainsFunc(it.Outputs, func(o Output) bool { return !o.Star && o.Name == column })
}

// Rename gives the item's columns the names of a list.
func (it *Item) Rename(names []string) {
	if len(names) == 0 {
		return
	}
	if it.Outputs == nil || HasStar(it.Outputs) || len(names) > len(it.Outputs) {
		it.renamed = true
		return
	}
	it.Outputs = slices.Clone(it.Outputs)
	for i, name := range names {
		it.Outputs[i].Name = name
	}
}

// Renamed reports whether the item's columns have names that nobody knows.
func (it *Item) Renamed() bool { return it.renamed }

// Budget bounds how many nodes and names are looked at for one statement. Names
// in scope multiply, so that a short text can ask for much.
type Budget struct {
	work int
	lost bool
}

const maxWork = 200_000

// Spend counts one look, and reports whether it may be taken.
func (b *Budget) Spend() bool {
	b.work++
	b.lost = b.lost || b.work > maxWork
	return !b.lost
}

// Give gives the statement up, for a reason of the reader's.
func (b *Budget) Give() { b.lost = true }

// Spent reports whether the statement is too much: nothing is known of it.
func (b *Budget) Spent() bool { return b.lost }
