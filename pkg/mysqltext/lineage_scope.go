package mysqltext

import (
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// scope is what names can mean in one query and, through outer, in those
// around it.
type scope struct {
	outer   *scope
	items   []*item // of FROM
	ctes    []*cte
	aliases []Output // of the select list so far: inner queries may name them
	listing bool     // the select list is being read: its own aliases are not in scope
	window  Output   // what named windows read
}

// item is one thing that FROM lists.
type item struct {
	name     string
	relation string   // of a table or view
	renamed  bool     // its columns have other names, and nobody knows which
	outputs  []Output // of a query
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
	return union(it.outputs...)
}

// rename gives the item's columns the names of a list.
func (it *item) rename(names []ast.CIStr) {
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
		it.outputs[i].Name = resultName(name.O)
	}
}

// named returns the items of that name at every level.
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
func (t *tracer) resolve(n *ast.ColumnName, sc *scope) Output {
	name := fold(n.Name.O)
	if n.Table.O != "" {
		return t.qualified(t.opt.foldRelation(n.Table.O), name, sc)
	}
	o, found, direct := Output{}, false, true
	take := func(p Output) {
		found, direct = true, direct && p.Direct
		o.add(p)
	}
	for level := sc; level != nil; level = level.outer {
		for _, it := range level.items {
			if p, ok := it.column(name, t); ok {
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
func (t *tracer) qualified(name, column string, sc *scope) Output {
	items := sc.named(name)
	o := Output{Unknown: len(items) == 0, Direct: len(items) > 0}
	for _, it := range items {
		p, found := it.column(column, t)
		if !found {
			p = it.whole(t)
		}
		o.Direct = o.Direct && p.Direct
		o.add(p)
	}
	return o
}

// cte is a WITH query.
type cte struct {
	name    string
	query   *ast.CommonTableExpression
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
		all := union(outputs...)
		outputs = slices.Clone(outputs)
		for i := range outputs {
			outputs[i] = Output{Name: outputs[i].Name, Sources: all.Sources, Unknown: all.Unknown, Star: outputs[i].Star}
			outputs[i].items = []*item{{any: &all}}
		}
	}
	it := &item{outputs: outputs}
	it.rename(c.query.ColNameList)
	if it.renamed {
		all := it.whole(t)
		all.Star = true
		all.items = []*item{{any: &Output{Sources: all.Sources, Unknown: all.Unknown}}}
		it.outputs = []Output{all}
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

// from brings what FROM lists into scope.
func (t *tracer) from(refs *ast.TableRefsClause, sc *scope) {
	if refs != nil && refs.TableRefs != nil {
		t.source(refs.TableRefs, sc)
	}
}

func (t *tracer) source(node ast.ResultSetNode, sc *scope) {
	if !t.spend() || node == nil {
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
		sc.items = append(sc.items, &item{outputs: t.query(node, sc)})
	}
}

func (t *tracer) tableSource(n *ast.TableSource, sc *scope) *item {
	var it *item
	switch source := n.Source.(type) {
	case *ast.TableName:
		it = t.table(source, sc)
	case *ast.Join:
		inner := &scope{outer: sc}
		t.source(source, inner)
		all := Output{Star: true, items: inner.items}
		for _, part := range inner.items {
			all.add(part.whole(t))
		}
		it = &item{outputs: []Output{all}}
	default:
		it = &item{outputs: t.query(n.Source, sc)}
	}
	if n.AsName.O != "" {
		it.name = t.opt.foldRelation(n.AsName.O)
	}
	it.rename(n.ColumnNames)
	return it
}

func (t *tracer) table(n *ast.TableName, sc *scope) *item {
	name := t.opt.foldRelation(n.Name.O)
	it := &item{name: name}
	found := sc.lookup(name)
	if found == nil || n.Schema.O != "" {
		it.relation = t.opt.relation(n)
		return it
	}
	t.follow(found)
	if found.state == cteDone {
		it.outputs = found.outputs
	} else {
		found.state = cteRecursive // what it reads is counted there
		it.any = &Output{}
	}
	return it
}
