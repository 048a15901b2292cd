package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// expr is where an expression's value may come from.
func (t *tracer) expr(node *pg_query.Node, sc *scope) lineage.Output {
	if node == nil || !t.budget.Spend() {
		return lineage.Output{Unknown: node != nil}
	}
	switch n := node.GetNode().(type) {
	case *pg_query.Node_ColumnRef:
		return t.resolve(withoutDatabase(nameList(n.ColumnRef.GetFields()), 3), sc)
	case *pg_query.Node_SubLink:
		return t.subLink(n.SubLink, sc)
	case *pg_query.Node_FuncCall:
		return t.call(n.FuncCall, sc)
	case *pg_query.Node_NullTest, *pg_query.Node_GroupingFunc:
		return lineage.Output{}
	case *pg_query.Node_AExpr:
		o := t.children(node, sc)
		if name := nameList(n.AExpr.GetName()); len(name) > 0 && !isBuiltin(t.names.operators, name, t.builtinNames) {
			o.Unknown = true
		}
		return o
	case *pg_query.Node_SelectStmt, *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt:
		return lineage.Union(t.query(node, sc)...)
	}
	return t.children(node, sc)
}

// children is where any part of an expression comes from.
func (t *tracer) children(node *pg_query.Node, sc *scope) lineage.Output {
	m := inner(node)
	if m == nil {
		return lineage.Output{}
	}
	all := t.message(m, sc)
	all.Unknown = all.Unknown || keywordCall(m.Interface()) != "" && !t.builtinNames
	return all
}

// message visits the fields of a node by reflection, so that none is missed.
func (t *tracer) message(m protoreflect.Message, sc *scope) lineage.Output {
	var all lineage.Output
	visit := func(child protoreflect.Message) {
		if node, ok := child.Interface().(*pg_query.Node); ok {
			all.Add(t.expr(node, sc))
		} else if t.budget.Spend() {
			all.Add(t.message(child, sc))
		}
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case fd.Kind() != protoreflect.MessageKind || !m.Has(fd):
		case fd.IsList():
			for list, j := m.Get(fd).List(), 0; j < list.Len(); j++ {
				visit(list.Get(j).Message())
			}
		default:
			visit(m.Get(fd).Message())
		}
	}
	return all
}

// subLink: EXISTS tells whether there is a row, as a predicate does.
func (t *tracer) subLink(n *pg_query.SubLink, sc *scope) lineage.Output {
	outputs := t.query(n.GetSubselect(), sc)
	if n.GetSubLinkType() == pg_query.SubLinkType_EXISTS_SUBLINK {
		return lineage.Output{}
	}
	all := lineage.Union(outputs...)
	if test := n.GetTestexpr(); test != nil {
		all.Add(t.expr(test, sc))
	}
	if name := nameList(n.GetOperName()); len(name) > 0 && !isBuiltin(t.names.operators, name, t.builtinNames) {
		all.Unknown = true
	}
	return all
}

// plainCalls are functions that have effects, but whose results come from
// nothing but their arguments and sequences.
var plainCalls = map[string]bool{
	"nextval": true, "setval": true, "set_config": true, "pg_notify": true, "pg_cancel_backend": true, "txid_current": true,
	"pg_advisory_lock": true, "pg_advisory_unlock": true, "pg_advisory_unlock_all": true, "pg_advisory_xact_lock": true,
	"pg_try_advisory_lock": true, "pg_try_advisory_xact_lock": true, "pg_current_xact_id": true, "pg_export_snapshot": true,
}

// call: what count counts is not in its result, unless as a window's it depends
// on the order of values.
func (t *tracer) call(n *pg_query.FuncCall, sc *scope) lineage.Output {
	parts := functionName(n)
	known := isBuiltin(t.names.functions, parts, t.builtinNames) || isBuiltin(plainCalls, parts, t.builtinNames)
	if known && parts[len(parts)-1] == "count" && n.GetOver() == nil {
		return lineage.Output{}
	}
	all := t.message(n.ProtoReflect(), sc)
	if n.GetOver() != nil {
		for level := sc; level != nil; level = level.outer {
			all.Add(level.window)
		}
	}
	all.Unknown = all.Unknown || !known
	return all
}
