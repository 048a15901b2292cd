package sqltext

import (
	_ "embed"
	"strings"
)

//go:embed builtin_functions.txt
var builtinFunctions string

//go:embed builtin_operators.txt
var builtinOperators string

// builtins are the names in pg_catalog that are known to be harmless: they
// change nothing, run no SQL and read no relation but the ones they are given
// rows of. testdata holds the queries that they come from.
type builtins struct {
	functions, operators map[string]bool
}

// rowCalls are functions of pg_catalog that take a row and that can be written
// as a column of it: t.to_json is to_json(t). Those that only count are left
// out, and what PostgreSQL 16 to 18 have beside 15 is there.
var rowCalls = map[string]bool{
	"any_value": true, "array_agg": true, "concat": true, "hash_record": true, "json_agg": true, "json_agg_strict": true,
	"json_build_array": true, "json_build_object": true, "jsonb_agg": true, "jsonb_agg_strict": true, "jsonb_build_array": true,
	"jsonb_build_object": true, "max": true, "min": true, "pg_column_size": true, "quote_literal": true, "quote_nullable": true,
	"record_out": true, "record_send": true, "row_to_json": true, "to_json": true, "to_jsonb": true,
}

func newBuiltins() *builtins {
	b := &builtins{functions: lineSet(builtinFunctions), operators: lineSet(builtinOperators)}
	for _, name := range keywordCalls {
		b.functions[name] = true
	}
	// What the grammar makes of x BETWEEN y AND z.
	for _, name := range []string{
		"BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN SYMMETRIC",
	} {
		b.operators[name] = true
	}
	return b
}

func lineSet(text string) map[string]bool {
	set := make(map[string]bool)
	for line := range strings.Lines(text) {
		set[strings.TrimSpace(line)] = true
	}
	return set
}

// isBuiltin says whether a name, qualified or not, is one of set in pg_catalog.
func isBuiltin(set map[string]bool, parts []string, builtinNames bool) bool {
	parts = withoutDatabase(parts, 2)
	switch len(parts) {
	case 1:
		return builtinNames && set[parts[0]]
	case 2:
		return parts[0] == "pg_catalog" && set[parts[1]]
	}
	return false
}
