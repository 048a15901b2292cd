package store

import (
	"strings"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// terms joins conditions of a query with their arguments.
type terms struct {
	text []string
	args []any
}

func (t *terms) add(on bool, term string, args ...any) {
	if on {
		t.text = append(t.text, term)
		t.args = append(t.args, args...)
	}
}

// where returns the conditions as a WHERE clause, empty for none.
func (t *terms) where() string {
	if len(t.text) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(t.text, " AND ")
}

// SQLite picks among the indexes that fit without knowing which is of few rows;
// a column with a plus before it has none (sqlite.org/optoverview.html, "Manual
// control"). So a query says which of its conditions narrows it.
const (
	byIndex      = ""
	withoutIndex = "+"
)

// scope adds that a row, which has a resource and a repository, may be seen;
// how is one of the two above.
func (t *terms) scope(sees view.Scope, how string) {
	if sees.All() {
		return
	}
	if len(sees.Pairs) == 0 {
		t.add(true, "0")
		return
	}
	var either []string
	for _, p := range sees.Pairs {
		var both terms
		both.among(how+"resource", p.Resources)
		both.among(how+"repository", p.Repositories)
		both.add(len(both.text) == 0, "1")
		either = append(either, "("+strings.Join(both.text, " AND ")+")")
		t.args = append(t.args, both.args...)
	}
	t.text = append(t.text, "("+strings.Join(either, " OR ")+")")
}

// among adds that a column holds one of names, as view.Scope reads them.
func (t *terms) among(column string, names []string) {
	if len(names) == 0 {
		return
	}
	either := make([]string, len(names))
	var args []any
	for i, name := range names {
		prefix, below := view.Below(name)
		if !below {
			either[i] = column + " = ?"
			args = append(args, name)
			continue
		}
		// "acme0" is the first text after all that begin with "acme/".
		either[i] = "(" + column + " >= ? AND " + column + " < ?)"
		args = append(args, prefix, strings.TrimSuffix(prefix, "/")+"0")
	}
	t.add(true, "("+strings.Join(either, " OR ")+")", args...)
}
