package sqltext

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// Calling returns the analysis of the same text on a server where these are
// names of users' functions that take a row: t.f may be f(t) there, which may do
// anything. It is a itself where no column has such a name.
func (a *Analysis) Calling(rowCalls map[string]bool) *Analysis {
	if len(rowCalls) == 0 || !slices.ContainsFunc(a.Statements, func(s Statement) bool { return len(s.rowCalls(rowCalls)) > 0 }) {
		return a
	}
	calling := *a
	calling.Statements = slices.Clone(a.Statements)
	for i := range calling.Statements {
		calling.Statements[i].call(rowCalls)
	}
	return &calling
}

// rowCalls are the columns that a statement names which have such a name.
func (s *Statement) rowCalls(names map[string]bool) []string {
	var calls []string
	for _, column := range s.Columns {
		if last := lastName(column); names[last] {
			calls = addName(calls, join(last))
		}
	}
	return calls
}

// call makes a statement one that calls the functions among its columns.
func (s *Statement) call(names map[string]bool) {
	calls := s.rowCalls(names)
	if len(calls) == 0 {
		return
	}
	s.Functions, s.Calls = slices.Concat(s.Functions, calls), slices.Concat(s.Calls, calls)
	s.Opaque, s.ReadOnly = true, false
	s.Effects = append(slices.Clone(s.Effects), Effect{Kind: SetAnything})
	if s.Lineage == nil {
		return
	}
	unknown := &lineage.Trace{Outputs: []lineage.Output{{Star: true, Unknown: true}}}
	for _, w := range s.Lineage.Written {
		unknown.Written = append(unknown.Written, lineage.Written{Relation: w.Relation, Column: w.Column, Output: lineage.Output{Unknown: true}})
	}
	s.Lineage = unknown
}
