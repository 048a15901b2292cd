package sqltext

import pg_query "github.com/pganalyze/pg_query_go/v6"

// from brings what FROM lists into scope.
func (t *tracer) from(nodes []*pg_query.Node, sc *scope) {
	for _, node := range nodes {
		sc.items = append(sc.items, t.fromItem(node, sc)...)
	}
}

func (t *tracer) fromItem(node *pg_query.Node, sc *scope) []*item {
	if !t.spend() {
		return nil
	}
	switch n := node.GetNode().(type) {
	case *pg_query.Node_RangeVar:
		return []*item{t.rangeVar(n.RangeVar, sc)}
	case *pg_query.Node_RangeSubselect:
		return []*item{aliased(&item{outputs: t.query(n.RangeSubselect.GetSubquery(), sc)}, n.RangeSubselect.GetAlias())}
	case *pg_query.Node_JoinExpr:
		return t.join(n.JoinExpr, sc)
	case *pg_query.Node_RangeTableSample:
		return t.fromItem(n.RangeTableSample.GetRelation(), sc)
	case *pg_query.Node_RangeFunction:
		any := t.expr(node, sc)
		it := &item{any: &any}
		for _, function := range n.RangeFunction.GetFunctions() {
			it.name = t.target(function.GetList().GetItems()[0], sc).Name
		}
		return []*item{aliased(it, n.RangeFunction.GetAlias())}
	case *pg_query.Node_RangeTableFunc:
		any := t.expr(node, sc)
		return []*item{aliased(&item{any: &any, name: "xmltable"}, n.RangeTableFunc.GetAlias())}
	case *pg_query.Node_JsonTable:
		any := t.expr(node, sc)
		return []*item{aliased(&item{any: &any, name: "json_table"}, n.JsonTable.GetAlias())}
	}
	return []*item{{any: &Output{Unknown: true}}}
}

// aliased gives an item the names of its alias.
func aliased(it *item, alias *pg_query.Alias) *item {
	if alias == nil {
		return it
	}
	it.name = alias.GetAliasname()
	it.rename(nameList(alias.GetColnames()))
	return it
}

func (t *tracer) rangeVar(rv *pg_query.RangeVar, sc *scope) *item {
	it := &item{name: rv.GetRelname(), relation: relationName(rv)}
	if found := sc.lookup(rv.GetRelname()); found != nil && rv.GetSchemaname() == "" {
		it.relation = ""
		t.follow(found)
		if found.state == cteDone {
			it.outputs = found.outputs
		} else {
			found.state = cteRecursive // what it reads is counted there
			it.any = &Output{}
		}
	}
	return aliased(it, rv.GetAlias())
}

// join lists both sides of a join. Under a name of its own they are one.
func (t *tracer) join(n *pg_query.JoinExpr, sc *scope) []*item {
	inner := &scope{outer: sc}
	inner.items = append(inner.items, t.fromItem(n.GetLarg(), inner)...)
	inner.items = append(inner.items, t.fromItem(n.GetRarg(), inner)...)
	if alias := n.GetAlias(); alias != nil {
		return []*item{aliased(&item{children: inner.items}, alias)}
	}
	if alias := n.GetJoinUsingAlias(); alias != nil {
		return append(inner.items, aliased(&item{children: inner.items}, alias))
	}
	return inner.items
}
