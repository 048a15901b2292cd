package sqltext

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// Source is a column that a value may come from, by the names of the text.
type Source struct {
	Relation string // as in Statement.Relations
	Column   string // "*" for any
}

// Output is one column of a result, or several under a star.
//
// It promises to name every relation's column that the value may come from.
// It names more where only a catalog could tell: a name without qualifier may
// be any relation's in scope. A predicate that decides whether there is a row
// is no source, nor is what is counted or tested for NULL.
type Output struct {
	Name    string // "" where it cannot be told
	Sources []Source
	Unknown bool // it may come from anywhere: from a function that is not known, or a name that is not in scope
	Direct  bool // it is a column's own value
	Star    bool // it stands for any number of columns

	items []*item // of a star
}

// Written is what a statement puts into a column of a relation.
type Written struct {
	Relation string
	Column   string // "" where the text does not tell
	Output
}

// Lineage is where the values of a statement come from.
type Lineage struct {
	Outputs []Output  // of its result; empty where it has none
	Written []Written // by itself and by its WITH queries
}

// At returns what the column i of n may be. With stars, of which nobody knows
// how many columns they stand for, it may be several.
func (l *Lineage) At(i, n int) Output {
	first := slices.IndexFunc(l.Outputs, func(o Output) bool { return o.Star })
	if first < 0 {
		if n != len(l.Outputs) {
			return Output{Unknown: true}
		}
		return l.Outputs[i]
	}
	last := first
	for j := range l.Outputs {
		if l.Outputs[j].Star {
			last = j
		}
	}
	behind := len(l.Outputs) - 1 - last
	switch {
	case n < first+behind:
		return Output{Unknown: true}
	case i < first:
		return l.Outputs[i]
	case i >= n-behind:
		return l.Outputs[len(l.Outputs)-(n-i)]
	}
	return union(l.Outputs[first : last+1]...)
}

// add makes o come from where p does too.
func (o *Output) add(p Output) {
	o.Unknown = o.Unknown || p.Unknown
	for _, s := range p.Sources {
		if !slices.Contains(o.Sources, s) {
			o.Sources = append(o.Sources, s)
		}
	}
	if len(o.Sources) > maxSources {
		o.Unknown, o.Sources = true, nil
	}
}

// maxSources bounds what one value is followed to. One from more columns may
// come from anywhere.
const maxSources = 256

// union is what may be any of outputs, without a name.
func union(outputs ...Output) Output {
	var all Output
	for _, o := range outputs {
		all.add(o)
	}
	return all
}

// trace returns where the values of a statement come from, nil for a statement
// that reads nothing or of which that is not known.
func trace(node *pg_query.Node, names *builtins, builtinNames bool) *Lineage {
	t := &tracer{names: names, builtinNames: builtinNames}
	var outputs []Output
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
	if t.lost {
		outputs = []Output{{Star: true, Unknown: true}}
		t.written = append(t.written, Written{Output: Output{Unknown: true}})
	}
	for i := range outputs {
		outputs[i].items = nil
	}
	for i := range t.written {
		t.written[i].items = nil
	}
	return &Lineage{Outputs: outputs, Written: t.written}
}

// tracer follows values through one statement.
type tracer struct {
	names        *builtins
	builtinNames bool
	written      []Written
	work         int
	lost         bool // the statement is too much for us: nothing is known
}

// maxTraceWork bounds how many nodes and names are looked at. Names in scope
// multiply, so that a short text can ask for much.
const maxTraceWork = 200_000

func (t *tracer) spend() bool {
	t.work++
	t.lost = t.lost || t.work > maxTraceWork
	return !t.lost
}

// makes notes a relation that is made of a result.
func (t *tracer) makes(into *pg_query.RangeVar, outputs []Output) {
	for _, o := range outputs {
		t.written = append(t.written, Written{Relation: relationName(into), Output: o})
	}
}

// query returns the result of a query or of a statement with RETURNING.
func (t *tracer) query(node *pg_query.Node, outer *scope) []Output {
	if !t.spend() {
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
	return []Output{{Star: true, Unknown: true}}
}

func (t *tracer) selects(n *pg_query.SelectStmt, outer *scope) []Output {
	sc := &scope{outer: outer}
	t.with(n.GetWithClause(), sc)
	switch {
	case n.GetOp() != pg_query.SetOperation_SETOP_NONE && n.GetOp() != pg_query.SetOperation_SET_OPERATION_UNDEFINED:
		if !t.spend() {
			return nil
		}
		return zip(t.selects(n.GetLarg(), sc), t.selects(n.GetRarg(), sc))
	case len(n.GetValuesLists()) > 0:
		return t.values(n.GetValuesLists(), sc)
	}
	t.from(n.GetFromClause(), sc)
	for _, window := range n.GetWindowClause() {
		sc.window.add(t.expr(window, sc))
	}
	return t.targets(n.GetTargetList(), sc)
}

// zip is the result of a set operation.
func zip(left, right []Output) []Output {
	star := func(o Output) bool { return o.Star }
	if len(left) != len(right) || slices.ContainsFunc(left, star) || slices.ContainsFunc(right, star) {
		return []Output{spread(slices.Concat(left, right)...)}
	}
	both := make([]Output, len(left))
	for i := range left {
		both[i] = union(left[i], right[i])
		both[i].Name = left[i].Name
		both[i].Direct = left[i].Direct && right[i].Direct
	}
	return both
}

// values reads the rows of VALUES. A star in one stands for any number of
// columns, so that nobody knows any more which column is whose.
func (t *tracer) values(lists []*pg_query.Node, sc *scope) []Output {
	var outputs []Output
	star := false
	for row, list := range lists {
		for i, node := range list.GetList().GetItems() {
			if i == len(outputs) {
				outputs = append(outputs, Output{Direct: row == 0})
			}
			value := t.target(node, sc)
			star = star || value.Star
			outputs[i].Direct = outputs[i].Direct && value.Direct
			outputs[i].add(value)
		}
	}
	if star {
		return []Output{spread(outputs...)}
	}
	return outputs
}

// spread is any number of columns, each of which may be any of outputs.
func spread(outputs ...Output) Output {
	all := union(outputs...)
	all.Star = true
	all.items = []*item{{any: &Output{Sources: all.Sources, Unknown: all.Unknown}}}
	return all
}

// targets reads a list of results.
func (t *tracer) targets(nodes []*pg_query.Node, sc *scope) []Output {
	var outputs []Output
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
func (t *tracer) target(node *pg_query.Node, sc *scope) Output {
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
			return spread(o)
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
func (t *tracer) star(qualifier []string, sc *scope) Output {
	items := sc.items
	if len(qualifier) > 0 {
		items = sc.named(qualifier[len(qualifier)-1])
	}
	all := Output{Star: true, items: items, Unknown: len(items) == 0}
	for _, it := range items {
		all.add(it.whole(t))
	}
	return all
}
