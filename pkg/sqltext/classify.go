package sqltext

import (
	"github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/operation"
)

// kind is what the kind of a statement alone tells.
type kind struct {
	name   string // the command as PostgreSQL's reference names it
	class  operation.Class
	traits trait
}

// trait is a set of things that hold for a kind of statement. None is the
// careful answer.
type trait uint8

const (
	shares   trait = 1 << iota // no literal in it has a part in its analysis
	harmless                   // by itself without effect beyond the transaction
	hides                      // it runs or reads what the text does not show
	defines                    // it defines code that the text does not show, for later
	dry                        // what is inside it is not run
)

// classify sets what the kind of a statement tells. A kind that we do not know
// is opaque and of no class.
func classify(st *statement, node *pg_query.Node) {
	k, ok := kindOf(node)
	if !ok {
		k = kind{"", operation.UnknownSQL, hides}
	}
	st.Kind, st.Class = k.name, k.class
	st.Opaque = k.traits&(hides|defines) != 0
	st.runsUnseen = k.traits&hides != 0
	st.traits = k.traits
	switch n := node.GetNode().(type) {
	case *pg_query.Node_UpdateStmt:
		st.HasWhere = n.UpdateStmt.GetWhereClause() != nil
	case *pg_query.Node_DeleteStmt:
		st.HasWhere = n.DeleteStmt.GetWhereClause() != nil
	}
	st.Effects = effects(node)
}

func kindOf(node *pg_query.Node) (kind, bool) {
	for _, of := range []func(*pg_query.Node) (kind, bool){
		queryKind, sessionKind, adminKind, createKind, alterKind, dropKind,
	} {
		if k, ok := of(node); ok {
			return k, true
		}
	}
	return kind{}, false
}

// isStatement says whether a node inside a statement is a statement of its
// own. A SELECT is not: its names are the outer statement's. Nor is a clause
// that the parser writes as a statement.
func isStatement(node *pg_query.Node) bool {
	switch node.GetNode().(type) {
	case *pg_query.Node_SelectStmt, *pg_query.Node_VariableSetStmt, *pg_query.Node_ReplicaIdentityStmt:
		return false
	}
	_, ok := kindOf(node)
	return ok
}

// queryKind knows statements that read and change rows, and what wraps them.
func queryKind(node *pg_query.Node) (kind, bool) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		if n.SelectStmt.GetIntoClause() != nil {
			return kind{"SELECT INTO", operation.DDL, shares}, true
		}
		return kind{"SELECT", operation.Read, shares | harmless}, true
	case *pg_query.Node_InsertStmt:
		return kind{"INSERT", operation.Write, shares}, true
	case *pg_query.Node_UpdateStmt:
		return kind{"UPDATE", operation.Write, shares}, true
	case *pg_query.Node_DeleteStmt:
		return kind{"DELETE", operation.Write, shares}, true
	case *pg_query.Node_MergeStmt:
		return kind{"MERGE", operation.Write, shares}, true
	case *pg_query.Node_TruncateStmt:
		return kind{"TRUNCATE", operation.Write, shares}, true
	case *pg_query.Node_CopyStmt:
		return copyKind(n.CopyStmt), true
	case *pg_query.Node_ExplainStmt:
		return explainKind(n.ExplainStmt), true
	case *pg_query.Node_PrepareStmt:
		return kind{"PREPARE", operation.Read, 0}, true
	case *pg_query.Node_ExecuteStmt:
		return kind{"EXECUTE", operation.Procedural, hides}, true
	case *pg_query.Node_CallStmt:
		return kind{"CALL", operation.Procedural, hides}, true
	case *pg_query.Node_DoStmt:
		return kind{"DO", operation.Procedural, hides}, true
	case *pg_query.Node_DeclareCursorStmt:
		return kind{"DECLARE", operation.Read, shares | harmless}, true
	case *pg_query.Node_FetchStmt:
		if n.FetchStmt.GetIsmove() {
			return kind{"MOVE", operation.Read, shares | hides}, true
		}
		return kind{"FETCH", operation.Read, shares | hides}, true
	case *pg_query.Node_ClosePortalStmt:
		return kind{"CLOSE", operation.Read, shares | harmless}, true
	case *pg_query.Node_RefreshMatViewStmt:
		return kind{"REFRESH MATERIALIZED VIEW", operation.Write, hides}, true
	}
	return kind{}, false
}

// copyKind tells the server's files and programs from the client's stream.
func copyKind(n *pg_query.CopyStmt) kind {
	switch {
	case n.GetIsProgram():
		return kind{"COPY PROGRAM", operation.Copy, hides}
	case n.GetFilename() != "":
		return kind{"COPY FILE", operation.Copy, hides}
	case n.GetIsFrom():
		return kind{"COPY", operation.Copy, 0}
	}
	return kind{"COPY", operation.Copy, harmless}
}

// explainKind: without ANALYZE nothing inside is run, but EXPLAIN EXECUTE shows
// the plan of a statement that stands elsewhere.
func explainKind(n *pg_query.ExplainStmt) kind {
	switch {
	case analyzes(n):
		return kind{"EXPLAIN", operation.Read, shares | harmless}
	case n.GetQuery().GetExecuteStmt() != nil:
		return kind{"EXPLAIN", operation.Procedural, dry | hides}
	}
	return kind{"EXPLAIN", operation.Read, shares | harmless | dry}
}

// analyzes says whether EXPLAIN runs its statement. The option counts whatever
// its value: what is taken for a run too many is only recorded as one.
func analyzes(n *pg_query.ExplainStmt) bool {
	for _, option := range n.GetOptions() {
		if option.GetDefElem().GetDefname() == "analyze" {
			return true
		}
	}
	return false
}
