package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// scope is what names can mean in one query and, through outer, in those
// around it.
type scope struct {
	outer  *scope
	items  []*lineage.Item // of FROM
	ctes   []*cte
	window lineage.Output // what named windows read
}

// named returns the items of that name at every level: which of them a query
// that is not LATERAL means, is not worth knowing.
func (sc *scope) named(name string) []*lineage.Item {
	var found []*lineage.Item
	for ; sc != nil; sc = sc.outer {
		for _, it := range sc.items {
			if it.Name == name {
				found = append(found, it)
			}
		}
	}
	return found
}

// resolve is what a column's name may mean.
func (t *tracer) resolve(parts []string, sc *scope) lineage.Output {
	if len(parts) == 0 {
		return lineage.Output{Unknown: true}
	}
	last := parts[len(parts)-1]
	if len(parts) > 1 {
		return t.qualified(parts[len(parts)-2], last, sc)
	}
	o, found, direct := lineage.Output{}, 0, true
	take := func(p lineage.Output) {
		found++
		direct = direct && p.Direct
		o.Add(p)
	}
	for level := sc; level != nil; level = level.outer {
		for _, it := range level.items {
			if p, ok := it.Column(last, &t.budget); ok {
				take(p)
			}
			if it.Name == last {
				take(it.Whole(&t.budget))
			}
		}
	}
	o.Direct = found > 0 && direct
	o.Unknown = o.Unknown || found == 0
	return o
}

// qualified is a column of what has a name. A column that FROM's item does not
// have may be a function of its row, written as a column.
func (t *tracer) qualified(name, column string, sc *scope) lineage.Output {
	items := sc.named(name)
	o := lineage.Output{Unknown: len(items) == 0, Direct: len(items) > 0}
	for _, it := range items {
		p, found := it.Column(column, &t.budget)
		if column == "*" || !found {
			p = it.Whole(&t.budget)
		} else if rowCalls[column] && !it.Has(column) {
			p.Direct = false
			p.Add(it.Whole(&t.budget))
		}
		o.Direct = o.Direct && p.Direct
		o.Add(p)
	}
	return o
}

// cte is a WITH query.
type cte struct {
	name    string
	query   *pg_query.CommonTableExpr
	scope   *scope
	outputs []lineage.Output
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
	if c.state == cteRecursive {
		outputs = lineage.Blur(outputs)
	}
	if c.query.GetSearchClause() != nil || c.query.GetCycleClause() != nil {
		outputs = []lineage.Output{{Star: true, Unknown: true}} // it has more columns than its query
	}
	it := &lineage.Item{Outputs: outputs}
	it.Rename(nameList(c.query.GetAliascolnames()))
	if it.Renamed() {
		it.Outputs = []lineage.Output{lineage.Spread(it.Whole(&t.budget))}
	}
	c.outputs, c.state = it.Outputs, cteDone
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
