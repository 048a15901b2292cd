package mysqltext

import (
	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// trace returns where the values of a statement come from, nil for a statement
// that reads nothing or of which that is not known.
func (t *tracer) trace(node ast.Node) *lineage.Trace {
	switch n := node.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt:
		return t.lineage(t.query(node, nil))
	case *ast.InsertStmt:
		t.insert(n)
	case *ast.UpdateStmt:
		sc := &scope{}
		t.with(n.With, sc)
		t.from(n.TableRefs, sc)
		t.assign(n.List, sc)
		t.rest(sc, n.Where, n.Order)
	case *ast.DeleteStmt:
		sc := &scope{}
		t.with(n.With, sc)
		t.from(n.TableRefs, sc)
		t.rest(sc, n.Where, n.Order)
	case *ast.LoadDataStmt:
		t.load(n)
	case *ast.CreateTableStmt:
		if n.Select == nil {
			return nil
		}
		t.makes(n.Table, nil, t.query(n.Select, nil))
	case *ast.CreateViewStmt:
		t.makes(n.ViewName, n.Cols, t.query(n.Select, nil))
	case *ast.DoStmt:
		for _, e := range n.Exprs {
			t.expr(e, nil)
		}
	default:
		return nil
	}
	return t.lineage(nil)
}

// rest looks for variables that other clauses set.
func (t *tracer) rest(sc *scope, where ast.ExprNode, order *ast.OrderByClause) {
	if where != nil {
		t.expr(where, sc)
	}
	t.ordered(order, sc)
}

// makes notes a relation that is made of a result.
func (t *tracer) makes(into *ast.TableName, columns []ast.CIStr, outputs []lineage.Output) {
	it := &lineage.Item{Outputs: outputs}
	it.Rename(resultNames(columns))
	for _, o := range it.Outputs {
		w := lineage.Written{Relation: t.opt.relation(into), Output: o}
		if !it.Renamed() && !o.Star {
			w.Column = o.Name
		}
		t.written = append(t.written, w)
	}
}

// target returns the one relation of INSERT.
func target(refs *ast.TableRefsClause) *ast.TableName {
	if refs == nil || refs.TableRefs == nil {
		return nil
	}
	source, ok := refs.TableRefs.Left.(*ast.TableSource)
	if !ok {
		return nil
	}
	name, _ := source.Source.(*ast.TableName)
	return name
}

func (t *tracer) insert(n *ast.InsertStmt) {
	into := target(n.Table)
	if into == nil {
		t.budget.Give()
		return
	}
	sc := &scope{items: []*lineage.Item{{Name: t.opt.foldRelation(into.Name.O), Relation: t.opt.relation(into)}}}
	var outputs []lineage.Output
	if n.Select != nil {
		inner := &scope{}
		t.sourcesOf(n.Select, inner)
		outputs = t.query(n.Select, nil)
		sc.items = append(sc.items, inner.items...)
	}
	for _, row := range n.Lists {
		for i, e := range row {
			if i == len(outputs) {
				outputs = append(outputs, lineage.Output{})
			}
			outputs[i].Add(t.expr(e, sc))
		}
	}
	for i, o := range outputs {
		w := lineage.Written{Relation: t.opt.relation(into), Output: o}
		if i < len(n.Columns) && !lineage.HasStar(outputs[:i+1]) {
			w.Column = fold(n.Columns[i].Name.O)
		}
		w.Name = ""
		t.written = append(t.written, w)
		t.inserted.Add(o)
	}
	if t.newRow != "" {
		row := lineage.Union(t.inserted)
		sc.items = append(sc.items, &lineage.Item{Name: t.opt.foldRelation(t.newRow), Any: &row})
	}
	t.assignTo(n.OnDuplicate, sc, sc.items[:1])
}

// sourcesOf brings the relations of a SELECT into scope: ON DUPLICATE KEY
// UPDATE may name their columns.
func (t *tracer) sourcesOf(node ast.ResultSetNode, sc *scope) {
	if n, ok := node.(*ast.SelectStmt); ok {
		t.with(n.With, sc)
		written := len(t.written)
		t.from(n.From, sc)
		t.written = t.written[:written] // they are traced again
	}
}

// assign notes what SET puts into columns: into those of every relation that
// the name may mean.
func (t *tracer) assign(list []*ast.Assignment, sc *scope) { t.assignTo(list, sc, sc.items) }

func (t *tracer) assignTo(list []*ast.Assignment, sc *scope, targets []*lineage.Item) {
	for _, a := range list {
		o := t.expr(a.Expr, sc)
		o.Name, o.Star = "", false
		items := targets
		if a.Column.Table.O != "" {
			items = sc.named(t.opt.foldRelation(a.Column.Table.O))
		}
		found := false
		for _, it := range items {
			if it.Relation != "" {
				found = true
				t.written = append(t.written, lineage.Written{Relation: it.Relation, Column: fold(a.Column.Name.O), Output: o})
			}
		}
		if !found {
			t.written = append(t.written, lineage.Written{Output: o})
		}
	}
}

// load is LOAD DATA. A file of the server's may hold anything.
func (t *tracer) load(n *ast.LoadDataStmt) {
	relation := t.opt.relation(n.Table)
	read := lineage.Output{Unknown: n.FileLocRef != ast.FileLocClient}
	t.written = append(t.written, lineage.Written{Relation: relation, Output: read})
	for _, c := range n.ColumnsAndUserVars {
		if c.UserVar != nil {
			t.written = append(t.written, lineage.Written{Relation: OfVariable, Column: fold(c.UserVar.Name), Output: read})
		}
	}
	t.assign(n.ColumnAssignments, &scope{items: []*lineage.Item{{Name: t.opt.foldRelation(n.Table.Name.O), Relation: relation}}})
}
