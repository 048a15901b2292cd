package sqltext

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluicegate/sluice/pkg/operation"
)

// look notes what a node by itself tells: columns, calls, locks.
func (w *walker) look(node any) {
	w.secrets(node)
	if name := keywordCall(node); name != "" {
		w.call([]string{name})
	}
	switch n := node.(type) {
	case *pg_query.FuncCall:
		w.call(functionName(n))
	case *pg_query.ColumnRef:
		parts := withoutDatabase(nameList(n.GetFields()), 3)
		w.column(parts...)
		w.ref(parts...)
		if len(parts) > 1 && rowCalls[parts[len(parts)-1]] {
			w.ref("*") // the call of a function with the row
		}
	case *pg_query.Alias:
		w.alias(n)
	case *pg_query.A_Indirection:
		for _, name := range nameList(n.GetIndirection()) {
			w.column(name)
			w.ref(name)
		}
	case *pg_query.A_Expr:
		w.operator(nameList(n.GetName()))
	case *pg_query.SubLink:
		w.operator(nameList(n.GetOperName()))
		w.equals(n.GetSubLinkType() == pg_query.SubLinkType_ANY_SUBLINK && len(n.GetOperName()) == 0)
	case *pg_query.CaseExpr:
		w.equals(n.GetArg() != nil)
	case *pg_query.TypeName:
		w.typed(nameList(n.GetNames()))
	case *pg_query.SortBy:
		w.operator(nameList(n.GetUseOp()))
	case *pg_query.RangeTableSample:
		w.sample(nameList(n.GetMethod()))
	case *pg_query.SelectStmt:
		w.selects(n)
	case *pg_query.InsertStmt:
		w.targetColumns(n.GetCols())
	case *pg_query.UpdateStmt:
		w.targetColumns(n.GetTargetList())
	case *pg_query.OnConflictClause:
		w.targetColumns(n.GetTargetList())
	case *pg_query.MergeWhenClause:
		w.targetColumns(n.GetTargetList())
	case *pg_query.JoinExpr:
		w.columns(n.GetUsingClause())
		w.equals(n.GetIsNatural() || len(n.GetUsingClause()) > 0)
	case *pg_query.CopyStmt:
		w.columns(n.GetAttlist())
	case *pg_query.AccessPriv:
		w.columns(n.GetCols())
	case *pg_query.IndexElem:
		w.column(n.GetName())
	case *pg_query.ColumnDef:
		w.column(n.GetColname())
	case *pg_query.AlterTableCmd:
		w.column(n.GetName())
	case *pg_query.RenameStmt:
		w.renamed(n)
	case *pg_query.DefElem:
		w.owned(n)
	case *pg_query.CreateTrigStmt:
		w.columns(n.GetColumns())
		w.call(nameList(n.GetFuncname()))
	}
}

// targets notes what a statement writes: the relation that it names itself,
// what INTO makes, and what DROP, TRUNCATE and the like list.
func (w *walker) targets(st *statement, m protoreflect.Message) {
	for _, name := range writes(m) {
		w.eachOpen(func(open *statement) {
			open.Relations = addName(open.Relations, name)
		})
		st.Writes = addName(st.Writes, name)
		w.catalog(st, name)
	}
}

// catalog notes what it means to write the server's own tables, which superusers
// can: to define, grant and drop. A rule on pg_settings makes an UPDATE of it a call.
func (w *walker) catalog(st *statement, name string) {
	parts := SplitName(name)
	last := parts[len(parts)-1]
	switch {
	case st.Class != operation.Write && st.Class != operation.Copy, len(parts) > 1 && parts[0] != "pg_catalog", !strings.HasPrefix(last, "pg_"):
	case last == "pg_settings":
		w.call([]string{"pg_catalog", "set_config"})
	default:
		st.Class, st.Opaque, st.Hides = operation.DDL, true, true
	}
}

func (w *walker) call(parts []string) {
	parts = withoutDatabase(parts, 2)
	known := isBuiltin(w.names.functions, parts, w.builtinNames)
	w.shareable = w.shareable && known
	w.eachOpen(func(st *statement) {
		st.Functions = addName(st.Functions, join(parts...))
		if !known {
			st.Calls = addName(st.Calls, join(parts...))
			st.Opaque, st.runsUnseen = true, true
		}
	})
}

func (w *walker) operator(parts []string) {
	if len(parts) == 0 {
		return
	}
	if len(parts) == 1 {
		w.eachOpen(func(st *statement) {
			for _, name := range written(parts[0]) {
				st.Operators = addName(st.Operators, name)
			}
		})
	}
	if isBuiltin(w.names.operators, parts, w.builtinNames) {
		return
	}
	w.shareable = false
	w.eachOpen(func(st *statement) { st.Opaque, st.runsUnseen, st.Hides = true, true, true })
}

// written are the operators that the server makes of what the grammar calls one.
func written(name string) []string {
	switch name {
	case "BETWEEN", "BETWEEN SYMMETRIC":
		return []string{">=", "<="}
	case "NOT BETWEEN", "NOT BETWEEN SYMMETRIC":
		return []string{"<", ">"}
	}
	return []string{name}
}

// equals notes an = that the text does not write.
func (w *walker) equals(is bool) {
	if is {
		w.operator([]string{"="})
	}
}

func (w *walker) typed(parts []string) {
	if len(parts) > 0 {
		w.eachOpen(func(st *statement) { st.Types = addName(st.Types, parts[len(parts)-1]) })
	}
}

// sample notes TABLESAMPLE's method, which is a function.
func (w *walker) sample(parts []string) {
	if len(parts) == 1 && (parts[0] == "system" || parts[0] == "bernoulli") && w.builtinNames {
		return
	}
	w.call(parts)
}

// selects notes what keeps a SELECT from being read-only: INTO, and FOR UPDATE
// and its kin, which write to the rows.
func (w *walker) selects(n *pg_query.SelectStmt) {
	into := n.GetIntoClause().GetRel()
	w.eachOpen(func(st *statement) {
		if len(n.GetLockingClause()) > 0 || into != nil {
			st.traits &^= harmless
		}
		if into == nil {
			return
		}
		st.Writes = addName(st.Writes, relationName(into))
		if st.Class == operation.Read {
			st.Class = operation.DDL
		}
	})
}

// renamed notes a column's old and new names.
func (w *walker) renamed(n *pg_query.RenameStmt) {
	switch n.GetRenameType() {
	case pg_query.ObjectType_OBJECT_COLUMN, pg_query.ObjectType_OBJECT_ATTRIBUTE:
		w.column(n.GetSubname())
		w.column(n.GetNewname())
	}
}

// owned notes the table of a sequence's OWNED BY.
func (w *walker) owned(n *pg_query.DefElem) {
	if n.GetDefname() != "owned_by" {
		return
	}
	name := relationOf(pg_query.ObjectType_OBJECT_COLUMN, n.GetArg())
	w.eachOpen(func(st *statement) { st.Relations = addName(st.Relations, name) })
}

func (w *walker) columns(nodes []*pg_query.Node) {
	for _, name := range nameList(nodes) {
		w.column(name)
	}
}

// targetColumns notes the columns that a list of assignments sets.
func (w *walker) targetColumns(nodes []*pg_query.Node) {
	for _, node := range nodes {
		if target := node.GetResTarget(); target != nil {
			w.column(target.GetName())
		}
	}
}

func (w *walker) column(parts ...string) {
	name := join(parts...)
	w.eachOpen(func(st *statement) { st.Columns = addName(st.Columns, name) })
}

// ref notes a column, or a whole row, that an expression reads.
func (w *walker) ref(parts ...string) {
	name := join(parts...)
	w.eachOpen(func(st *statement) { st.Refs = addName(st.Refs, name) })
}

func (w *walker) alias(n *pg_query.Alias) {
	w.eachOpen(func(st *statement) {
		st.Aliases = addName(st.Aliases, join(n.GetAliasname()))
		st.Renames = st.Renames || len(n.GetColnames()) > 0
	})
}
