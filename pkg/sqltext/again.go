package sqltext

import "github.com/sluicegate/sluice/pkg/operation"

// Again reads a text that was understood once and recorded since, without the
// state of its session: as most sessions have it.
func (a *Analyzer) Again(text []byte) (statements []operation.SQLStatement, parsed bool) {
	found := a.Analyze(text, Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true})
	for _, s := range found.Statements {
		statements = append(statements, s.SQLStatement)
	}
	return statements, found.Parsed
}
