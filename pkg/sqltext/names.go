package sqltext

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// join writes a qualified name with dots. A part that itself holds a dot or a
// quote is quoted, so that it cannot pass for two parts.
func join(parts ...string) string {
	quoted := make([]string, 0, len(parts))
	for _, part := range parts {
		if strings.ContainsAny(part, `."`) {
			part = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
		}
		quoted = append(quoted, part)
	}
	return strings.Join(quoted, ".")
}

// relationName leaves out the database: PostgreSQL takes only the current one.
func relationName(rv *pg_query.RangeVar) string {
	if rv.GetSchemaname() == "" {
		return join(rv.GetRelname())
	}
	return join(rv.GetSchemaname(), rv.GetRelname())
}

// nameList returns the strings of a name in the tree; a star is "*".
func nameList(nodes []*pg_query.Node) []string {
	names := make([]string, 0, len(nodes))
	for _, node := range nodes {
		switch n := node.GetNode().(type) {
		case *pg_query.Node_String_:
			names = append(names, n.String_.GetSval())
		case *pg_query.Node_AStar:
			names = append(names, "*")
		}
	}
	return names
}

// objectName returns the qualified name of an object that stands in the tree
// as a string or a list of strings.
func objectName(node *pg_query.Node) []string {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_List:
		return nameList(n.List.GetItems())
	case *pg_query.Node_TypeName:
		return nameList(n.TypeName.GetNames())
	case *pg_query.Node_String_:
		return []string{n.String_.GetSval()}
	}
	return nil
}

// withoutDatabase drops the database from a name that has more parts than
// schema and object.
func withoutDatabase(parts []string, most int) []string {
	if len(parts) > most {
		return parts[len(parts)-most:]
	}
	return parts
}

// addName appends a name that is not empty and not there yet.
func addName(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
