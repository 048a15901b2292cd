package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// trace returns where the values of a statement come from, nil for a statement
// that reads nothing or of which that is not known.
func trace(node *pg_query.Node, names *builtins, builtinNames bool) *lineage.Trace {
	t := &tracer{names: names, builtinNames: builtinNames}
	var outputs []lineage.Output
	switch n := node.GetNode().(type) {
	case *pg_query.Node_DeclareCursorStmt:
		outputs = t.query(n.DeclareCursorStmt.GetQuery(), nil)
	case *pg_query.Node_PrepareStmt:
		outputs = t.query(n.PrepareStmt.GetQuery(), nil)
	case *pg_query.Node_ViewStmt:
		t.makes(n.ViewStmt.GetView(), t.query(n.ViewStmt.GetQuery(), nil))
	case *pg_query.Node_CreateTableAsStmt:
		t.makes(n.CreateTableAsStmt.GetInto().GetRel(), t.query(n.CreateTableAsStmt.GetQuery(), nil))
	case *pg_query.Node_CopyStmt:
		if n.CopyStmt.GetQuery() == nil {
			return nil
		}
		outputs = t.query(n.CopyStmt.GetQuery(), nil)
	case *pg_query.Node_SelectStmt:
		outputs = t.query(node, nil)
		if into := n.SelectStmt.GetIntoClause().GetRel(); into != nil {
			t.makes(into, outputs)
			outputs = nil
		}
	case *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt:
		outputs = t.query(node, nil)
	default:
		return nil
	}
	if t.budget.Spent() {
		outputs = []lineage.Output{{Star: true, Unknown: true}}
		t.written = append(t.written, lineage.Written{Output: lineage.Output{Unknown: true}})
	}
	for i := range outputs {
		outputs[i].Forget()
	}
	for i := range t.written {
		t.written[i].Forget()
	}
	return &lineage.Trace{Outputs: outputs, Written: t.written}
}

// tracer follows values through one statement.
type tracer struct {
	names        *builtins
	builtinNames bool
	written      []lineage.Written
	budget       lineage.Budget
}

// makes notes a relation that is made of a result.
func (t *tracer) makes(into *pg_query.RangeVar, outputs []lineage.Output) {
	for _, o := range outputs {
		t.written = append(t.written, lineage.Written{Relation: relationName(into), Output: o})
	}
}

// query returns the result of a query or of a statement with RETURNING.
func (t *tracer) query(node *pg_query.Node, outer *scope) []lineage.Output {
	if !t.budget.Spend() {
		return nil
	}
	switch n := node.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		return t.selects(n.SelectStmt, outer)
	case *pg_query.Node_InsertStmt:
		return t.inserts(n.InsertStmt, outer)
	case *pg_query.Node_UpdateStmt:
		return t.updates(n.UpdateStmt, outer)
	case *pg_query.Node_DeleteStmt:
		return t.deletes(n.DeleteStmt, outer)
	case *pg_query.Node_MergeStmt:
		return t.merges(n.MergeStmt, outer)
	}
	return []lineage.Output{{Star: true, Unknown: true}}
}

func (t *tracer) selects(n *pg_query.SelectStmt, outer *scope) []lineage.Output {
	sc := &scope{outer: outer}
	t.with(n.GetWithClause(), sc)
	switch {
	case n.GetOp() != pg_query.SetOperation_SETOP_NONE && n.GetOp() != pg_query.SetOperation_SET_OPERATION_UNDEFINED:
		if !t.budget.Spend() {
			return nil
		}
		return lineage.Zip(t.selects(n.GetLarg(), sc), t.selects(n.GetRarg(), sc))
	case len(n.GetValuesLists()) > 0:
		return t.values(n.GetValuesLists(), sc)
	}
	t.from(n.GetFromClause(), sc)
	for _, window := range n.GetWindowClause() {
		sc.window.Add(t.expr(window, sc))
	}
	return t.targets(n.GetTargetList(), sc)
}

// values reads the rows of VALUES. A star in one stands for any number of
// columns, so that nobody knows any more which column is whose.
func (t *tracer) values(lists []*pg_query.Node, sc *scope) []lineage.Output {
	var outputs []lineage.Output
	star := false
	for row, list := range lists {
		for i, node := range list.GetList().GetItems() {
			if i == len(outputs) {
				outputs = append(outputs, lineage.Output{Direct: row == 0})
			}
			value := t.target(node, sc)
			star = star || value.Star
			outputs[i].Direct = outputs[i].Direct && value.Direct
			outputs[i].Add(value)
		}
	}
	if star {
		return []lineage.Output{lineage.Spread(outputs...)}
	}
	return outputs
}

// targets reads a list of results.
func (t *tracer) targets(nodes []*pg_query.Node, sc *scope) []lineage.Output {
	var outputs []lineage.Output
	for _, node := range nodes {
		target := node.GetResTarget()
		o := t.target(target.GetVal(), sc)
		if target.GetName() != "" {
			o.Name = target.GetName()
		}
		outputs = append(outputs, o)
	}
	return outputs
}

// target reads one result, and knows stars and the names that PostgreSQL gives
// (FigureColname).
func (t *tracer) target(node *pg_query.Node, sc *scope) lineage.Output {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_ColumnRef:
		parts := nameList(n.ColumnRef.GetFields())
		if len(parts) > 0 && parts[len(parts)-1] == "*" {
			return t.star(parts[:len(parts)-1], sc)
		}
		o := t.expr(node, sc)
		o.Name = parts[len(parts)-1]
		return o
	case *pg_query.Node_AIndirection:
		o := t.expr(node, sc)
		if list := n.AIndirection.GetIndirection(); len(list) > 0 && list[len(list)-1].GetAStar() != nil {
			return lineage.Spread(o)
		}
		return o
	case *pg_query.Node_FuncCall:
		o := t.expr(node, sc)
		if parts := nameList(n.FuncCall.GetFuncname()); len(parts) > 0 {
			o.Name = parts[len(parts)-1]
		}
		return o
	}
	return t.expr(node, sc)
}

// star is * or t.*.
func (t *tracer) star(qualifier []string, sc *scope) lineage.Output {
	items := sc.items
	if len(qualifier) > 0 {
		items = sc.named(qualifier[len(qualifier)-1])
	}
	return lineage.Star(items, &t.budget)
}
