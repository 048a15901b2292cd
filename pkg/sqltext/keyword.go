package sqltext

import pg_query "github.com/pganalyze/pg_query_go/v6"

// keywordCalls are functions that the grammar of PostgreSQL 17 knows by
// keywords. An older server has no such functions, and takes the same text for
// a call of a user's. So they count as names like others.
var keywordCalls = [...]string{
	"json", "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query", "json_scalar",
	"json_serialize", "json_table", "json_value", "merge_action",
}

// keywordCall returns the function that a node stands for, "" for all others.
func keywordCall(node any) string {
	switch n := node.(type) {
	case *pg_query.JsonParseExpr:
		return "json"
	case *pg_query.JsonArrayConstructor, *pg_query.JsonArrayQueryConstructor:
		return "json_array"
	case *pg_query.JsonArrayAgg:
		return "json_arrayagg"
	case *pg_query.JsonObjectConstructor:
		return "json_object"
	case *pg_query.JsonObjectAgg:
		return "json_objectagg"
	case *pg_query.JsonScalarExpr:
		return "json_scalar"
	case *pg_query.JsonSerializeExpr:
		return "json_serialize"
	case *pg_query.JsonTable:
		return "json_table"
	case *pg_query.MergeSupportFunc:
		return "merge_action"
	case *pg_query.JsonFuncExpr:
		return jsonQueries[n.GetOp()]
	}
	return ""
}

var jsonQueries = map[pg_query.JsonExprOp]string{
	pg_query.JsonExprOp_JSON_EXISTS_OP: "json_exists",
	pg_query.JsonExprOp_JSON_QUERY_OP:  "json_query",
	pg_query.JsonExprOp_JSON_VALUE_OP:  "json_value",
	pg_query.JsonExprOp_JSON_TABLE_OP:  "json_table",
}

// functionName returns the name of a call as it was written, but for the
// database: the grammar gives JSON_OBJECT(…) as a call of pg_catalog's.
func functionName(n *pg_query.FuncCall) []string {
	parts := withoutDatabase(nameList(n.GetFuncname()), 2)
	if len(parts) == 2 && parts[0] == "pg_catalog" && parts[1] == "json_object" {
		return parts[1:]
	}
	return parts
}
