package mysqltext

import "github.com/sluicegate/sluice/pkg/operation"

// Again reads a text that was understood once and recorded since, without the
// state of its session: as MariaDB's most sessions have it.
func (a *Analyzer) Again(text []byte) (statements []operation.SQLStatement, parsed bool) {
	found := a.Analyze(text, Options{MariaDB: true, Version: 101106, UTF8: true})
	for _, s := range found.Statements {
		statements = append(statements, s.SQLStatement)
	}
	return statements, found.Parsed
}
