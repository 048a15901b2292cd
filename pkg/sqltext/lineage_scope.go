package sqltext

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// scope is what names can mean in one query and, through outer, in those
// around it.
type scope struct {
	outer  *scope
	items  []*item // of FROM
	ctes   []*cte
	window Output // what named windows read
}

// item is one thing that FROM lists.
type item struct {
	name     string
	relation string   // of a table or view
	renamed  bool     // its columns have other names, and nobody knows which
	outputs  []Output // of a query
	children []*item  // of a join that has a name
	any      *Output  // what every column may be, of all others
}

// column is what the item's column of that name may be; found is false where it
// has none.
func (it *item) column(name string, t *tracer) (o Output, found bool) {
	if !t.spend() {
		return Output{Unknown: true}, true
	}
	switch {
	case it.any != nil:
		return *it.any, true
	case it.renamed:
		return it.whole(t), true
	case it.relation != "":
		return Output{Sources: []Source{{it.relation, name}}, Direct: true}, true
	}
	direct := true
	take := func(p Output) {
		found, direct = true, direct && p.Direct
		o.add(p)
	}
	for _, child := range it.children {
		if p, ok := child.column(name, t); ok {
			take(p)
		}
	}
	for _, output := range it.outputs {
		if output.Star {
			for _, inner := range output.items {
				if p, ok := inner.column(name, t); ok {
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

// whole is a row of the item.
func (it *item) whole(t *tracer) Output {
	if !t.spend() {
		return Output{Unknown: true}
	}
	switch {
	case it.any != nil:
		return union(*it.any)
	case it.relation != "":
		return Output{Sources: []Source{{it.relation, "*"}}}
	}
	all := union(it.outputs...)
	for _, child := range it.children {
		all.add(child.whole(t))
	}
	return all
}

// names reports whether a column of the item certainly has that name.
func (it *item) names(column string) bool {
	return slices.ContainsFunc(it.outputs, func(o Output) bool { return !o.Star && o.Name == column })
}

// rename gives the item's columns the names of an alias.
func (it *item) rename(names []string) {
	if len(names) == 0 {
		return
	}
	star := func(o Output) bool { return o.Star }
	if it.outputs == nil || slices.ContainsFunc(it.outputs, star) || len(names) > len(it.outputs) {
		it.renamed = true
		return
	}
	it.outputs = slices.Clone(it.outputs)
	for i, name := range names {
		it.outputs[i].Name = name
	}
}

// named returns the items of that name at every level: which of them a query
// that is not LATERAL means, is not worth knowing.
func (sc *scope) named(name string) []*item {
	var found []*item
	for ; sc != nil; sc = sc.outer {
		for _, it := range sc.items {
			if it.name == name {
				found = append(found, it)
			}
		}
	}
	return found
}

// resolve is what a column's name may mean.
func (t *tracer) resolve(parts []string, sc *scope) Output {
	if len(parts) == 0 {
		return Output{Unknown: true}
	}
	last := parts[len(parts)-1]
	if len(parts) > 1 {
		return t.qualified(parts[len(parts)-2], last, sc)
	}
	o, found, direct := Output{}, 0, true
	take := func(p Output) {
		found++
		direct = direct && p.Direct
		o.add(p)
	}
	for level := sc; level != nil; level = level.outer {
		for _, it := range level.items {
			if p, ok := it.column(last, t); ok {
				take(p)
			}
			if it.name == last {
				take(it.whole(t))
			}
		}
	}
	o.Direct = found > 0 && direct
	o.Unknown = o.Unknown || found == 0
	return o
}

// qualified is a column of what has a name. A column that FROM's item does not
// have may be a function of its row, written as a column.
func (t *tracer) qualified(name, column string, sc *scope) Output {
	items := sc.named(name)
	o := Output{Unknown: len(items) == 0, Direct: len(items) > 0}
	for _, it := range items {
		p, found := it.column(column, t)
		if column == "*" || !found {
			p = it.whole(t)
		} else if rowCalls[column] && !it.names(column) {
			p.Direct = false
			p.add(it.whole(t))
		}
		o.Direct = o.Direct && p.Direct
		o.add(p)
	}
	return o
}

// cte is a WITH query.
type cte struct {
	name    string
	query   *pg_query.CommonTableExpr
	scope   *scope
	outputs []Output
	state   cteState
}

type cteState uint8

const (
	ctePending cteState = iota
	cteRunning
	cteRecursive // it was met in itself
	cteDone
)

// with brings WITH queries into scope, and follows each of them, because one
// that nobody reads may still write.
func (t *tracer) with(clause *pg_query.WithClause, sc *scope) {
	first := len(sc.ctes)
	for _, node := range clause.GetCtes() {
		query := node.GetCommonTableExpr()
		c := &cte{name: query.GetCtename(), query: query, scope: sc}
		if !clause.GetRecursive() {
			t.follow(c) // it sees only those before it
		}
		sc.ctes = append(sc.ctes, c)
	}
	for _, c := range sc.ctes[first:] {
		t.follow(c)
	}
}

// follow finds a WITH query's outputs. Any column of a recursive one may come
// from any that one of its parts reads.
func (t *tracer) follow(c *cte) {
	if c.state != ctePending {
		return
	}
	c.state = cteRunning
	outputs := t.query(c.query.GetCtequery(), c.scope)
	if c.state == cteRecursive || c.query.GetSearchClause() != nil || c.query.GetCycleClause() != nil {
		all := union(outputs...)
		for i := range outputs {
			outputs[i] = Output{Name: outputs[i].Name, Sources: all.Sources, Unknown: all.Unknown, Star: outputs[i].Star}
			outputs[i].items = []*item{{any: &all}}
		}
	}
	if c.query.GetSearchClause() != nil || c.query.GetCycleClause() != nil {
		outputs = []Output{{Star: true, Unknown: true}} // it has more columns than its query
	}
	it := &item{outputs: outputs}
	it.rename(nameList(c.query.GetAliascolnames()))
	if it.renamed {
		it.outputs = []Output{spread(it.whole(t))}
	}
	c.outputs, c.state = it.outputs, cteDone
}

// lookup returns the WITH query that an unqualified name means.
func (sc *scope) lookup(name string) *cte {
	for ; sc != nil; sc = sc.outer {
		for i := len(sc.ctes) - 1; i >= 0; i-- {
			if sc.ctes[i].name == name {
				return sc.ctes[i]
			}
		}
	}
	return nil
}
