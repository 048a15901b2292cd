package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// from brings what FROM lists into scope.
func (t *tracer) from(nodes []*pg_query.Node, sc *scope) {
	for _, node := range nodes {
		sc.items = append(sc.items, t.fromItem(node, sc)...)
	}
}

func (t *tracer) fromItem(node *pg_query.Node, sc *scope) []*lineage.Item {
	if !t.budget.Spend() {
		return nil
	}
	switch n := node.GetNode().(type) {
	case *pg_query.Node_RangeVar:
		return []*lineage.Item{t.rangeVar(n.RangeVar, sc)}
	case *pg_query.Node_RangeSubselect:
		return []*lineage.Item{aliased(&lineage.Item{Outputs: t.query(n.RangeSubselect.GetSubquery(), sc)}, n.RangeSubselect.GetAlias())}
	case *pg_query.Node_JoinExpr:
		return t.join(n.JoinExpr, sc)
	case *pg_query.Node_RangeTableSample:
		return t.fromItem(n.RangeTableSample.GetRelation(), sc)
	case *pg_query.Node_RangeFunction:
		any := t.expr(node, sc)
		it := &lineage.Item{Any: &any}
		for _, function := range n.RangeFunction.GetFunctions() {
			it.Name = t.target(function.GetList().GetItems()[0], sc).Name
		}
		return []*lineage.Item{aliased(it, n.RangeFunction.GetAlias())}
	case *pg_query.Node_RangeTableFunc:
		any := t.expr(node, sc)
		return []*lineage.Item{aliased(&lineage.Item{Any: &any, Name: "xmltable"}, n.RangeTableFunc.GetAlias())}
	case *pg_query.Node_JsonTable:
		any := t.expr(node, sc)
		return []*lineage.Item{aliased(&lineage.Item{Any: &any, Name: "json_table"}, n.JsonTable.GetAlias())}
	}
	return []*lineage.Item{{Any: &lineage.Output{Unknown: true}}}
}

// aliased gives an item the names of its alias.
func aliased(it *lineage.Item, alias *pg_query.Alias) *lineage.Item {
	if alias == nil {
		return it
	}
	it.Name = alias.GetAliasname()
	it.Rename(nameList(alias.GetColnames()))
	return it
}

func (t *tracer) rangeVar(rv *pg_query.RangeVar, sc *scope) *lineage.Item {
	it := &lineage.Item{Name: rv.GetRelname(), Relation: relationName(rv)}
	if found := sc.lookup(rv.GetRelname()); found != nil && rv.GetSchemaname() == "" {
		it.Relation = ""
		t.follow(found)
		if found.state == cteDone {
			it.Outputs = found.outputs
		} else {
			found.state = cteRecursive // what it reads is counted there
			it.Any = &lineage.Output{}
		}
	}
	return aliased(it, rv.GetAlias())
}

// join lists both sides of a join. Under a name of its own they are one.
func (t *tracer) join(n *pg_query.JoinExpr, sc *scope) []*lineage.Item {
	inner := &scope{outer: sc}
	inner.items = append(inner.items, t.fromItem(n.GetLarg(), inner)...)
	inner.items = append(inner.items, t.fromItem(n.GetRarg(), inner)...)
	if alias := n.GetAlias(); alias != nil {
		return []*lineage.Item{aliased(&lineage.Item{Outputs: []lineage.Output{lineage.Star(inner.items, &t.budget)}}, alias)}
	}
	if alias := n.GetJoinUsingAlias(); alias != nil {
		return append(inner.items, aliased(&lineage.Item{Outputs: []lineage.Output{lineage.Star(inner.items, &t.budget)}}, alias))
	}
	return inner.items
}
