package mysqltext

import (
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// tracer follows values through one statement.
type tracer struct {
	opt      Options
	names    *builtins
	calls    []string // functions that are not known to be harmless
	written  []Written
	inserted Output // what VALUES(column) may be
	newRow   string // what INSERT … AS calls the row that it inserts
	work     int
	lost     bool // the statement is too much for us: nothing is known
}

// maxTraceWork bounds how many nodes and names are looked at. Names in scope
// multiply, so that a short text can ask for much.
const maxTraceWork = 200_000

func (t *tracer) spend() bool {
	t.work++
	t.lost = t.lost || t.work > maxTraceWork
	return !t.lost
}

// lineage finishes what was traced.
func (t *tracer) lineage(outputs []Output) *Lineage {
	if t.lost {
		outputs = []Output{{Star: true, Unknown: true}}
		t.written = append(t.written, Written{Output: Output{Unknown: true}})
	}
	// What a variable holds is added to outputs alone.
	if t.lost || slices.ContainsFunc(t.written, func(w Written) bool { return w.Relation == OfVariable }) {
		for i := range outputs {
			outputs[i].items = nil
		}
	}
	for i := range t.written {
		t.written[i].items = nil
	}
	l := &Lineage{Outputs: outputs, Written: t.written}
	l.settle()
	return l
}

// settle follows variables that the statement both sets and reads, in whatever
// order: it does so once for each row.
func (l *Lineage) settle() {
	variables := map[string]*Output{}
	for i := range l.Written {
		if w := &l.Written[i]; w.Relation == OfVariable {
			if variables[w.Column] == nil {
				variables[w.Column] = &Output{}
			}
			variables[w.Column].add(w.Output)
		}
	}
	if len(variables) == 0 {
		return
	}
	for range len(variables) {
		for _, o := range variables {
			o.follow(variables)
		}
	}
	for i := range l.Written {
		l.Written[i].follow(variables)
	}
	for i := range l.Outputs {
		l.Outputs[i].follow(variables)
	}
}

func (o *Output) follow(variables map[string]*Output) {
	for _, source := range slices.Clone(o.Sources) {
		if v := variables[source.Column]; source.Relation == OfVariable && v != nil && v != o {
			o.Sources = slices.Clone(o.Sources)
			o.add(*v)
		}
	}
}

// query returns the result of a query.
func (t *tracer) query(node ast.Node, outer *scope) []Output {
	if !t.spend() {
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
		var outputs []Output
		for i, one := range n.Selects {
			more := t.query(one, sc)
			if i == 0 {
				outputs = more
			} else {
				outputs = zip(outputs, more)
			}
		}
		sc.aliases = outputs
		t.ordered(n.OrderBy, sc)
		return outputs
	case *ast.SubqueryExpr:
		return t.query(n.Query, outer)
	}
	return []Output{{Star: true, Unknown: true}}
}

// ordered looks for variables that ORDER BY sets.
func (t *tracer) ordered(n *ast.OrderByClause, sc *scope) {
	if n != nil {
		t.expr(n, sc)
	}
}

func (t *tracer) selects(n *ast.SelectStmt, outer *scope) []Output {
	sc := &scope{outer: outer}
	t.with(n.With, sc)
	if n.Kind == ast.SelectStmtKindValues {
		return t.values(n.Lists, sc)
	}
	t.from(n.From, sc)
	for i := range n.WindowSpecs {
		sc.window.add(t.expr(&n.WindowSpecs[i], sc))
	}
	if n.Kind == ast.SelectStmtKindTable {
		return []Output{t.star(&ast.WildCardField{}, sc)}
	}
	var outputs []Output
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

// zip is the result of a set operation.
func zip(left, right []Output) []Output {
	star := func(o Output) bool { return o.Star }
	if len(left) != len(right) || slices.ContainsFunc(left, star) || slices.ContainsFunc(right, star) {
		all := union(slices.Concat(left, right)...)
		all.Star = true
		all.items = []*item{{any: &Output{Sources: all.Sources, Unknown: all.Unknown}}}
		return []Output{all}
	}
	both := make([]Output, len(left))
	for i := range left {
		both[i] = union(left[i], right[i])
		both[i].Name = left[i].Name
		both[i].Direct = left[i].Direct && right[i].Direct
	}
	return both
}

func (t *tracer) values(rows []*ast.RowExpr, sc *scope) []Output {
	var outputs []Output
	for r, row := range rows {
		for i, node := range row.Values {
			if i == len(outputs) {
				outputs = append(outputs, Output{Direct: r == 0})
			}
			value := t.expr(node, sc)
			outputs[i].Direct = outputs[i].Direct && value.Direct
			outputs[i].add(value)
		}
	}
	return outputs
}

// field reads one result. A result that has no name of its own is called by its
// text, which nobody needs to know.
func (t *tracer) field(n *ast.SelectField, sc *scope) Output {
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

// star is * or t.*.
func (t *tracer) star(n *ast.WildCardField, sc *scope) Output {
	items := sc.items
	if n.Table.O != "" {
		items = sc.named(t.opt.foldRelation(n.Table.O))
	}
	all := Output{Star: true, items: items, Unknown: len(items) == 0}
	for _, it := range items {
		all.add(it.whole(t))
	}
	return all
}

// expr is where an expression's value may come from.
func (t *tracer) expr(node ast.Node, sc *scope) Output {
	if node == nil || !t.spend() {
		return Output{Unknown: node != nil}
	}
	switch n := node.(type) {
	case *ast.ColumnName:
		return t.resolve(n, sc)
	case *ast.ColumnNameExpr:
		return t.resolve(n.Name, sc)
	case *ast.SubqueryExpr, *ast.SelectStmt, *ast.SetOprStmt:
		return union(t.query(n, sc)...)
	case *ast.ExistsSubqueryExpr, *ast.IsNullExpr:
		t.children(node, sc) // a predicate, but it may set a variable
		return Output{}
	case *ast.FuncCallExpr:
		return t.call(join(t.opt.foldRelation(n.Schema.O), fold(n.FnName.O)), node, sc)
	case *ast.AggregateFuncExpr:
		all := t.call(fold(n.F), node, sc)
		if fold(n.F) == "count" {
			return Output{Unknown: all.Unknown}
		}
		return all
	case *ast.WindowFuncExpr:
		all := t.call(fold(n.Name), node, sc)
		for level := sc; level != nil; level = level.outer {
			all.add(level.window)
		}
		return all
	case *ast.VariableExpr:
		return t.variable(n, sc)
	case *ast.ValuesExpr:
		all := t.children(node, sc)
		all.add(t.inserted)
		return all
	case *ast.TableName:
		return Output{} // a sequence
	case *ast.ParenthesesExpr:
		return t.expr(n.Expr, sc)
	}
	return t.children(node, sc)
}

// call is a function's result: of one that is not known it may be anything.
func (t *tracer) call(name string, node ast.Node, sc *scope) Output {
	all := t.children(node, sc)
	if slices.Contains(t.calls, name) && !settled[name] {
		all.Unknown = true
	}
	return all
}

func (t *tracer) children(node ast.Node, sc *scope) Output {
	var all Output
	children(node, func(child ast.Node) { all.add(t.expr(child, sc)) })
	return all
}

// variable is @x or @x := value. Of a variable of the server's nothing comes.
func (t *tracer) variable(n *ast.VariableExpr, sc *scope) Output {
	if n.IsSystem {
		return Output{}
	}
	name := fold(n.Name)
	if n.Value == nil {
		return Output{Sources: []Source{{OfVariable, name}}}
	}
	o := t.expr(n.Value, sc)
	o.Name, o.Star = "", false
	t.written = append(t.written, Written{Relation: OfVariable, Column: name, Output: o})
	return o
}
