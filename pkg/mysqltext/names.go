package mysqltext

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// join writes a name of several parts. A part with other characters than
// letters, digits, _ and $ stands in backquotes, so that no two names look the
// same.
func join(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		if part == "*" || plainName(part) {
			b.WriteString(part)
		} else {
			b.Write(appendName(nil, part))
		}
	}
	return b.String()
}

func plainName(part string) bool {
	for i := range len(part) {
		if classOf[part[i]]&identBytes == 0 {
			return false
		}
	}
	return true
}

// SplitName takes a name as this package writes it apart. It has one part or
// more.
func SplitName(name string) []string {
	var parts []string
	for {
		var part, rest string
		if strings.HasPrefix(name, "`") {
			end := 1
			for end < len(name) && (name[end] != '`' || end+1 < len(name) && name[end+1] == '`') {
				if name[end] == '`' {
					end++
				}
				end++
			}
			part, rest = strings.ReplaceAll(name[1:min(end, len(name))], "``", "`"), name[min(end+1, len(name)):]
			rest, _ = strings.CutPrefix(rest, ".")
		} else {
			part, rest, _ = strings.Cut(name, ".")
		}
		parts = append(parts, part)
		if rest == "" {
			return parts
		}
		name = rest
	}
}

// fold folds the name of a column, function, variable or alias of a column:
// those are never compared by case.
func fold(name string) string { return strings.ToLower(name) }

// foldRelation folds the name of a database, relation or alias of one, as far
// as the server does.
func (opt Options) foldRelation(name string) string {
	if opt.LowerNames {
		return strings.ToLower(name)
	}
	return name
}

// relationName returns the name of a relation. The names of the server's own
// views are never compared by case.
func (opt Options) relationName(schema, name string) string {
	if schema == "" {
		schema = opt.database
	}
	if own := strings.ToLower(schema); own == "information_schema" || own == "performance_schema" {
		return join(own, strings.ToLower(name))
	}
	return join(opt.foldRelation(schema), opt.foldRelation(name))
}

func (opt Options) relation(n *ast.TableName) string { return opt.relationName(n.Schema.O, n.Name.O) }

// columnName returns the name of a column with its qualifier.
func (opt Options) columnName(n *ast.ColumnName) string {
	return join(opt.foldRelation(n.Schema.O), opt.foldRelation(n.Table.O), fold(n.Name.O))
}

// maxNames bounds the names of a statement: each is compared with all others.
const maxNames = 4096

func (st *Statement) names() int {
	return len(st.Relations) + len(st.Columns) + len(st.Functions) + len(st.Aliases) + len(st.Effects)
}

// addName adds a name that is not there yet.
func addName(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
