package sqltext

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// Taken are names of a database's users, as TakenQuery finds them. A text that
// uses one may run what it does not show.
type Taken struct {
	Functions, Operators map[string]bool // which the server has, too
	Types                map[string]bool
	RowCalls             map[string]bool // functions that can be written as columns: t.f may be f(t)
}

// Calling returns the analysis of the same text on a server where these names
// are taken. It is a itself where no statement uses any of them.
func (a *Analysis) Calling(t Taken) *Analysis {
	if !slices.ContainsFunc(a.Statements, t.concern) {
		return a
	}
	calling := *a
	calling.Statements = slices.Clone(a.Statements)
	for i := range calling.Statements {
		if s := &calling.Statements[i]; t.concern(*s) {
			s.call(t)
		}
	}
	return &calling
}

func (t Taken) concern(s Statement) bool {
	return anyOf(s.Functions, t.Functions) || t.runs(&s) ||
		len(t.RowCalls) > 0 && slices.ContainsFunc(s.Columns, func(name string) bool { return t.RowCalls[lastName(name)] })
}

// runs reports whether a statement may run more than functions that it names.
func (t Taken) runs(s *Statement) bool {
	return anyOf(s.Operators, t.Operators) || anyOf(s.Types, t.Types)
}

func anyOf(names []string, taken map[string]bool) bool {
	return len(taken) > 0 && slices.ContainsFunc(names, func(name string) bool { return taken[name] })
}

// call makes a statement one that calls what is taken.
func (s *Statement) call(t Taken) {
	s.Functions, s.Calls = slices.Clone(s.Functions), slices.Clone(s.Calls)
	for _, column := range s.Columns {
		if last := lastName(column); t.RowCalls[last] {
			s.Functions, s.Calls = addName(s.Functions, join(last)), addName(s.Calls, join(last))
		}
	}
	for _, name := range s.Functions {
		if t.Functions[name] {
			s.Calls = addName(s.Calls, name)
		}
	}
	s.Hides = s.Hides || t.runs(s)
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
