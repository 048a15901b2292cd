package mysqltext

import (
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// OfVariable is the Relation of a source or of what is written that is a user
// variable: Column is its name, in lower case. No relation is named so.
const OfVariable = "@"

// tracer follows values through one statement.
type tracer struct {
	opt      Options
	names    *builtins
	calls    []string // functions that are not known to be harmless
	written  []lineage.Written
	inserted lineage.Output // what VALUES(column) may be
	newRow   string         // what INSERT … AS calls the row that it inserts
	budget   lineage.Budget
}

// lineage finishes what was traced.
func (t *tracer) lineage(outputs []lineage.Output) *lineage.Trace {
	if t.budget.Spent() {
		outputs = []lineage.Output{{Star: true, Unknown: true}}
		t.written = append(t.written, lineage.Written{Output: lineage.Output{Unknown: true}})
	}
	// What a variable holds is added to outputs alone.
	if t.budget.Spent() || slices.ContainsFunc(t.written, func(w lineage.Written) bool { return w.Relation == OfVariable }) {
		for i := range outputs {
			outputs[i].Forget()
		}
	}
	for i := range t.written {
		t.written[i].Forget()
	}
	l := &lineage.Trace{Outputs: outputs, Written: t.written}
	settle(l)
	return l
}

// settle follows variables that the statement both sets and reads, in whatever
// order: it does so once for each row.
func settle(l *lineage.Trace) {
	variables := map[string]*lineage.Output{}
	for i := range l.Written {
		if w := &l.Written[i]; w.Relation == OfVariable {
			if variables[w.Column] == nil {
				variables[w.Column] = &lineage.Output{}
			}
			variables[w.Column].Add(w.Output)
		}
	}
	if len(variables) == 0 {
		return
	}
	for range len(variables) {
		for _, o := range variables {
			follow(o, variables)
		}
	}
	for i := range l.Written {
		follow(&l.Written[i].Output, variables)
	}
	for i := range l.Outputs {
		follow(&l.Outputs[i], variables)
	}
}

func follow(o *lineage.Output, variables map[string]*lineage.Output) {
	for _, source := range slices.Clone(o.Sources) {
		if v := variables[source.Column]; source.Relation == OfVariable && v != nil && v != o {
			o.Sources = slices.Clone(o.Sources)
			o.Add(*v)
		}
	}
}

// query returns the result of a query.
func (t *tracer) query(node ast.Node, outer *scope) []lineage.Output {
	if !t.budget.Spend() {
		return nil
	}
	switch n := node.(type) {
	case *ast.SelectStmt:
		return t.selects(n, outer)
	case *ast.SetOprStmt:
		sc := &scope{outer: outer}
		t.with(n.With, sc)
		outputs := t.query(n.SelectList, sc)
		sc.aliases = outputs
		t.ordered(n.OrderBy, sc)
		return outputs
	case *ast.SetOprSelectList:
		sc := &scope{outer: outer}
		t.with(n.With, sc)
		var outputs []lineage.Output
		for i, one := range n.Selects {
			more := t.query(one, sc)
			if i == 0 {
				outputs = more
			} else {
				outputs = lineage.Zip(outputs, more)
			}
		}
		sc.aliases = outputs
		t.ordered(n.OrderBy, sc)
		return outputs
	case *ast.SubqueryExpr:
		return t.query(n.Query, outer)
	}
	return []lineage.Output{{Star: true, Unknown: true}}
}

// ordered looks for variables that ORDER BY sets.
func (t *tracer) ordered(n *ast.OrderByClause, sc *scope) {
	if n != nil {
		t.expr(n, sc)
	}
}

func (t *tracer) selects(n *ast.SelectStmt, outer *scope) []lineage.Output {
	sc := &scope{outer: outer}
	t.with(n.With, sc)
	if n.Kind == ast.SelectStmtKindValues {
		return t.values(n.Lists, sc)
	}
	t.from(n.From, sc)
	for i := range n.WindowSpecs {
		sc.window.Add(t.expr(&n.WindowSpecs[i], sc))
	}
	if n.Kind == ast.SelectStmtKindTable {
		return []lineage.Output{t.star(&ast.WildCardField{}, sc)}
	}
	var outputs []lineage.Output
	if n.Fields != nil {
		sc.listing = true
		for _, field := range n.Fields.Fields {
			outputs = append(outputs, t.field(field, sc))
			sc.aliases = outputs
		}
	}
	sc.listing = false
	if n.Where != nil {
		t.expr(n.Where, sc)
	}
	if n.GroupBy != nil {
		t.expr(n.GroupBy, sc)
	}
	if n.Having != nil {
		t.expr(n.Having, sc)
	}
	t.ordered(n.OrderBy, sc)
	return outputs
}

func (t *tracer) values(rows []*ast.RowExpr, sc *scope) []lineage.Output {
	var outputs []lineage.Output
	for r, row := range rows {
		for i, node := range row.Values {
			if i == len(outputs) {
				outputs = append(outputs, lineage.Output{Direct: r == 0})
			}
			value := t.expr(node, sc)
			outputs[i].Direct = outputs[i].Direct && value.Direct
			outputs[i].Add(value)
		}
	}
	return outputs
}

// field reads one result. A result that has no name of its own is called by its
// text, which nobody needs to know.
func (t *tracer) field(n *ast.SelectField, sc *scope) lineage.Output {
	if n.WildCard != nil {
		return t.star(n.WildCard, sc)
	}
	o := t.expr(n.Expr, sc)
	if column, ok := n.Expr.(*ast.ColumnNameExpr); ok {
		o.Name = resultName(column.Name.Name.O)
	}
	if n.AsName.O != "" {
		o.Name = resultName(n.AsName.O)
	}
	return o
}

// resultName folds the name of a result, "" for one that the server changes: it
// takes what does not print from the beginning.
func resultName(name string) string {
	if name == "" || name[0] <= ' ' || name[0] == 0x7f {
		return ""
	}
	return fold(name)
}

func resultNames(list []ast.CIStr) []string {
	names := make([]string, len(list))
	for i, name := range list {
		names[i] = resultName(name.O)
	}
	return names
}

// star is * or t.*.
func (t *tracer) star(n *ast.WildCardField, sc *scope) lineage.Output {
	items := sc.items
	if n.Table.O != "" {
		items = sc.named(t.opt.foldRelation(n.Table.O))
	}
	return lineage.Star(items, &t.budget)
}

// expr is where an expression's value may come from.
func (t *tracer) expr(node ast.Node, sc *scope) lineage.Output {
	if node == nil || !t.budget.Spend() {
		return lineage.Output{Unknown: node != nil}
	}
	switch n := node.(type) {
	case *ast.ColumnName:
		return t.resolve(n, sc)
	case *ast.ColumnNameExpr:
		return t.resolve(n.Name, sc)
	case *ast.SubqueryExpr, *ast.SelectStmt, *ast.SetOprStmt:
		return lineage.Union(t.query(n, sc)...)
	case *ast.ExistsSubqueryExpr, *ast.IsNullExpr:
		t.children(node, sc) // a predicate, but it may set a variable
		return lineage.Output{}
	case *ast.FuncCallExpr:
		return t.call(join(t.opt.foldRelation(n.Schema.O), fold(n.FnName.O)), node, sc)
	case *ast.AggregateFuncExpr:
		all := t.call(fold(n.F), node, sc)
		if fold(n.F) == "count" {
			return lineage.Output{Unknown: all.Unknown}
		}
		return all
	case *ast.WindowFuncExpr:
		all := t.call(fold(n.Name), node, sc)
		for level := sc; level != nil; level = level.outer {
			all.Add(level.window)
		}
		return all
	case *ast.VariableExpr:
		return t.variable(n, sc)
	case *ast.ValuesExpr:
		all := t.children(node, sc)
		all.Add(t.inserted)
		return all
	case *ast.TableName:
		return lineage.Output{} // a sequence
	case *ast.ParenthesesExpr:
		return t.expr(n.Expr, sc)
	}
	return t.children(node, sc)
}

// call is a function's result: of one that is not known it may be anything.
func (t *tracer) call(name string, node ast.Node, sc *scope) lineage.Output {
	all := t.children(node, sc)
	if slices.Contains(t.calls, name) && !settled[name] {
		all.Unknown = true
	}
	return all
}

func (t *tracer) children(node ast.Node, sc *scope) lineage.Output {
	var all lineage.Output
	children(node, func(child ast.Node) { all.Add(t.expr(child, sc)) })
	return all
}

// variable is @x or @x := value. Of a variable of the server's nothing comes.
func (t *tracer) variable(n *ast.VariableExpr, sc *scope) lineage.Output {
	if n.IsSystem {
		return lineage.Output{}
	}
	name := fold(n.Name)
	if n.Value == nil {
		return lineage.Output{Sources: []lineage.Source{{Relation: OfVariable, Column: name}}}
	}
	o := t.expr(n.Value, sc)
	o.Name, o.Star = "", false
	t.written = append(t.written, lineage.Written{Relation: OfVariable, Column: name, Output: o})
	return o
}
