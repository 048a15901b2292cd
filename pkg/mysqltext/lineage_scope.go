package mysqltext

import (
	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// scope is what names can mean in one query and, through outer, in those
// around it.
type scope struct {
	outer   *scope
	items   []*lineage.Item // of FROM
	ctes    []*cte
	aliases []lineage.Output // of the select list so far: inner queries may name them
	listing bool             // the select list is being read: its own aliases are not in scope
	window  lineage.Output   // what named windows read
}

// named returns the items of that name at every level.
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
func (t *tracer) resolve(n *ast.ColumnName, sc *scope) lineage.Output {
	name := fold(n.Name.O)
	if n.Table.O != "" {
		return t.qualified(t.opt.foldRelation(n.Table.O), name, sc)
	}
	o, found, direct := lineage.Output{}, false, true
	take := func(p lineage.Output) {
		found, direct = true, direct && p.Direct
		o.Add(p)
	}
	for level := sc; level != nil; level = level.outer {
		for _, it := range level.items {
			if p, ok := it.Column(name, &t.budget); ok {
				take(p)
			}
		}
		if level == sc && sc.listing {
			continue
		}
		for _, alias := range level.aliases {
			if alias.Name == name || alias.Name == "" {
				take(alias)
			}
		}
	}
	o.Direct = found && direct
	o.Unknown = o.Unknown || !found
	return o
}

// qualified is a column of what has a name.
func (t *tracer) qualified(name, column string, sc *scope) lineage.Output {
	items := sc.named(name)
	o := lineage.Output{Unknown: len(items) == 0, Direct: len(items) > 0}
	for _, it := range items {
		p, found := it.Column(column, &t.budget)
		if !found {
			p = it.Whole(&t.budget)
		}
		o.Direct = o.Direct && p.Direct
		o.Add(p)
	}
	return o
}

// cte is a WITH query.
type cte struct {
	name    string
	query   *ast.CommonTableExpression
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
// that nobody reads may still set a variable.
func (t *tracer) with(clause *ast.WithClause, sc *scope) {
	if clause == nil {
		return
	}
	first := len(sc.ctes)
	for _, query := range clause.CTEs {
		c := &cte{name: t.opt.foldRelation(query.Name.O), query: query, scope: sc}
		if !clause.IsRecursive {
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
	outputs := t.query(c.query.Query.Query, c.scope)
	if c.state == cteRecursive {
		outputs = lineage.Blur(outputs)
	}
	it := &lineage.Item{Outputs: outputs}
	it.Rename(resultNames(c.query.ColNameList))
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

// from brings what FROM lists into scope.
func (t *tracer) from(refs *ast.TableRefsClause, sc *scope) {
	if refs != nil && refs.TableRefs != nil {
		t.source(refs.TableRefs, sc)
	}
}

func (t *tracer) source(node ast.ResultSetNode, sc *scope) {
	if !t.budget.Spend() || node == nil {
		return
	}
	switch n := node.(type) {
	case *ast.Join:
		t.source(n.Left, sc)
		if n.Right != nil {
			t.source(n.Right, sc)
		}
		if n.On != nil {
			t.expr(n.On.Expr, sc)
		}
	case *ast.TableSource:
		sc.items = append(sc.items, t.tableSource(n, sc))
	case *ast.TableName:
		sc.items = append(sc.items, t.table(n, sc))
	default:
		sc.items = append(sc.items, &lineage.Item{Outputs: t.query(node, sc)})
	}
}

func (t *tracer) tableSource(n *ast.TableSource, sc *scope) *lineage.Item {
	var it *lineage.Item
	switch source := n.Source.(type) {
	case *ast.TableName:
		it = t.table(source, sc)
	case *ast.Join:
		inner := &scope{outer: sc}
		t.source(source, inner)
		it = &lineage.Item{Outputs: []lineage.Output{lineage.Star(inner.items, &t.budget)}}
	default:
		it = &lineage.Item{Outputs: t.query(n.Source, sc)}
	}
	if n.AsName.O != "" {
		it.Name = t.opt.foldRelation(n.AsName.O)
	}
	it.Rename(resultNames(n.ColumnNames))
	return it
}

func (t *tracer) table(n *ast.TableName, sc *scope) *lineage.Item {
	name := t.opt.foldRelation(n.Name.O)
	it := &lineage.Item{Name: name}
	found := sc.lookup(name)
	if found == nil || n.Schema.O != "" {
		it.Relation = t.opt.relation(n)
		return it
	}
	t.follow(found)
	if found.state == cteDone {
		it.Outputs = found.outputs
	} else {
		found.state = cteRecursive // what it reads is counted there
		it.Any = &lineage.Output{}
	}
	return it
}
