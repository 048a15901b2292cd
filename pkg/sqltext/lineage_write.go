package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// writing begins a statement that changes rows: its target is in scope.
func (t *tracer) writing(target *pg_query.RangeVar, with *pg_query.WithClause, outer *scope) *scope {
	sc := &scope{outer: outer}
	t.with(with, sc)
	it := &lineage.Item{Name: target.GetRelname(), Relation: relationName(target)}
	sc.items = append(sc.items, aliased(it, target.GetAlias()))
	return sc
}

// inserts follows INSERT. Its query does not see the target.
func (t *tracer) inserts(n *pg_query.InsertStmt, outer *scope) []lineage.Output {
	sc := t.writing(n.GetRelation(), n.GetWithClause(), outer)
	into := relationName(n.GetRelation())
	if n.GetSelectStmt() != nil {
		t.puts(into, columnsOf(n.GetCols()), t.query(n.GetSelectStmt(), &scope{outer: outer, ctes: sc.ctes}))
	}
	if conflict := n.GetOnConflictClause(); conflict != nil {
		proposed := &lineage.Item{Name: "excluded", Relation: into}
		t.sets(into, conflict.GetTargetList(), &scope{outer: outer, ctes: sc.ctes, items: append(sc.items[:1:1], proposed)})
	}
	return t.targets(n.GetReturningList(), sc)
}

func (t *tracer) updates(n *pg_query.UpdateStmt, outer *scope) []lineage.Output {
	sc := t.writing(n.GetRelation(), n.GetWithClause(), outer)
	t.from(n.GetFromClause(), sc)
	t.sets(relationName(n.GetRelation()), n.GetTargetList(), sc)
	return t.targets(n.GetReturningList(), sc)
}

func (t *tracer) deletes(n *pg_query.DeleteStmt, outer *scope) []lineage.Output {
	sc := t.writing(n.GetRelation(), n.GetWithClause(), outer)
	t.from(n.GetUsingClause(), sc)
	return t.targets(n.GetReturningList(), sc)
}

func (t *tracer) merges(n *pg_query.MergeStmt, outer *scope) []lineage.Output {
	sc := t.writing(n.GetRelation(), n.GetWithClause(), outer)
	t.from([]*pg_query.Node{n.GetSourceRelation()}, sc)
	into := relationName(n.GetRelation())
	for _, node := range n.GetMergeWhenClauses() {
		clause := node.GetMergeWhenClause()
		if len(clause.GetValues()) == 0 {
			t.sets(into, clause.GetTargetList(), sc)
			continue
		}
		var values []lineage.Output
		for _, value := range clause.GetValues() {
			values = append(values, t.expr(value, sc))
		}
		t.puts(into, columnsOf(clause.GetTargetList()), values)
	}
	return t.targets(n.GetReturningList(), sc)
}

// columnsOf returns the columns that a list of assignments names.
func columnsOf(nodes []*pg_query.Node) []string {
	var names []string
	for _, node := range nodes {
		names = append(names, node.GetResTarget().GetName())
	}
	return names
}

// puts notes a row's values.
func (t *tracer) puts(into string, columns []string, values []lineage.Output) {
	l := lineage.Trace{Outputs: values}
	for i, column := range columns {
		t.written = append(t.written, lineage.Written{Relation: into, Column: column, Output: l.At(i, len(columns))})
	}
	if len(columns) > 0 {
		return
	}
	for _, value := range values {
		t.written = append(t.written, lineage.Written{Relation: into, Output: value})
	}
}

// sets notes assignments.
func (t *tracer) sets(into string, targets []*pg_query.Node, sc *scope) {
	for _, node := range targets {
		target := node.GetResTarget()
		t.written = append(t.written, lineage.Written{Relation: into, Column: target.GetName(), Output: t.expr(target.GetVal(), sc)})
	}
}
