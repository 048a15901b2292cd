package mysqltext

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// walker collects the names of one statement on a walk down its tree.
type walker struct {
	st    *Statement
	opt   Options
	names *builtins
	apart []string // names of functions that may not be the server's own
	ctes  []string
	depth int
	lost  refusal // why the walk ended
	locks bool    // it locks rows
}

// maxDepth bounds nodes in nodes. Operators that follow each other are nested.
const maxDepth = 4000

// walk visits a node and all that is in it.
func (w *walker) walk(node ast.Node) {
	if w.depth++; w.depth > maxDepth {
		w.lost = refusedNesting
	}
	if w.lost == "" && w.st.names() > maxNames {
		w.lost = refusedSize
	}
	if w.lost == "" {
		w.look(node)
	}
	w.depth--
}

func (w *walker) look(node ast.Node) {
	switch n := node.(type) {
	case *ast.TableName:
		w.relation(n)
	case *ast.ColumnName:
		w.st.Columns = addName(w.st.Columns, w.opt.columnName(n))
		return
	case *ast.WildCardField:
		w.st.Columns = addName(w.st.Columns, join(w.opt.foldRelation(n.Schema.O), w.opt.foldRelation(n.Table.O), "*"))
	case *ast.TableSource:
		w.st.Aliases = addName(w.st.Aliases, w.opt.foldRelation(n.AsName.O))
	case *ast.FuncCallExpr:
		w.call(n.Schema.O, n.FnName.L, len(n.Args))
	case *ast.AggregateFuncExpr:
		w.call("", n.F, len(n.Args))
	case *ast.WindowFuncExpr:
		w.call("", n.Name, len(n.Args))
	case *ast.JSONSumCrc32Expr:
		w.call("", "json_sum_crc32", 1)
	case *ast.VariableExpr:
		if n.Value != nil && !n.IsSystem {
			w.st.Effects = append(w.st.Effects, Effect{Kind: Assign, Name: fold(n.Name)})
		}
	case *ast.SelectStmt:
		w.locks = w.locks || n.LockInfo != nil && n.LockInfo.LockType != ast.SelectLockNone
	case *ast.DeleteTableList:
		return // it names what FROM already did, by alias
	case *ast.SelectIntoOption:
		w.lost = refusedSyntax // it was cut out before
	case *ast.AsOfClause, *ast.TableSample:
		w.lost = refusedSyntax // the servers do not have it
	}
	if n, ok := node.(*ast.SelectStmt); ok && n.Kind == ast.SelectStmtKindValues {
		n.Fields = nil // the parser's own
	}
	w.inside(node)
}

// inside visits the parts of a node. WITH comes first: its names are in scope
// in all others.
func (w *walker) inside(node ast.Node) {
	scope := len(w.ctes)
	with := withOf(node)
	if with != nil {
		w.with(with)
	}
	children(node, func(child ast.Node) {
		if clause, ok := child.(*ast.WithClause); !ok || clause != with {
			w.walk(child)
		}
	})
	w.ctes = w.ctes[:scope]
}

func withOf(node ast.Node) *ast.WithClause {
	switch n := node.(type) {
	case *ast.SelectStmt:
		return n.With
	case *ast.SetOprStmt:
		return n.With
	case *ast.SetOprSelectList:
		return n.With
	case *ast.UpdateStmt:
		return n.With
	case *ast.DeleteStmt:
		return n.With
	}
	return nil
}

// with brings the names of WITH queries into scope: each for those behind it,
// all for each other when RECURSIVE.
func (w *walker) with(clause *ast.WithClause) {
	if clause.IsRecursive {
		for _, cte := range clause.CTEs {
			w.ctes = append(w.ctes, w.opt.foldRelation(cte.Name.O))
		}
	}
	for _, cte := range clause.CTEs {
		w.walk(cte)
		if !clause.IsRecursive {
			w.ctes = append(w.ctes, w.opt.foldRelation(cte.Name.O))
		}
	}
}

func (w *walker) relation(n *ast.TableName) {
	if n.Schema.O == "" && slices.Contains(w.ctes, w.opt.foldRelation(n.Name.O)) {
		return
	}
	w.st.Relations = addName(w.st.Relations, w.opt.relation(n))
}

// call notes a function. With a schema it is a stored one, whatever its name.
func (w *walker) call(schema, name string, args int) {
	name = fold(name)
	stranger := slices.Contains(w.apart, name)
	if strings.HasPrefix(name, "'tidb`.") {
		return // a literal
	}
	if own, ok := parserNames[name]; ok && schema == "" && !stranger {
		w.st.Functions = addName(w.st.Functions, own)
		return
	}
	full := join(w.opt.foldRelation(schema), name)
	w.st.Functions = addName(w.st.Functions, full)
	if schema != "" || stranger || !w.names.harmless(name, args, w.opt.MariaDB) {
		w.st.Calls = addName(w.st.Calls, full)
	}
}
