package sqltext

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"

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
	spreads                    // it changes or drops what the text does not name
)

// classify sets what the kind of a statement tells. A kind that we do not know
// is opaque and of no class.
func classify(st *statement, node *pg_query.Node) {
	k, ok := kindOf(node)
	if !ok {
		k = kind{"", operation.UnknownSQL, hides}
	}
	st.Kind, st.Class = k.name, k.class
	if spreading(node) {
		k.traits |= spreads
	}
	st.Hides = k.traits&(hides|defines) != 0
	st.Opaque = st.Hides || k.traits&spreads != 0
	st.runsUnseen = k.traits&hides != 0
	st.traits = k.traits
	switch n := node.GetNode().(type) {
	case *pg_query.Node_UpdateStmt:
		st.HasWhere = n.UpdateStmt.GetWhereClause() != nil
	case *pg_query.Node_DeleteStmt:
		st.HasWhere = n.DeleteStmt.GetWhereClause() != nil
	}
	st.Runs = runs(node)
	st.Effects = effects(node)
}

// spreading reports whether a statement, by an option of its kind, is about more
// than it names.
func spreading(node *pg_query.Node) bool {
	cascade := pg_query.DropBehavior_DROP_CASCADE
	switch n := node.GetNode().(type) {
	case *pg_query.Node_DropStmt:
		return n.DropStmt.GetBehavior() == cascade
	case *pg_query.Node_TruncateStmt:
		return n.TruncateStmt.GetBehavior() == cascade
	case *pg_query.Node_AlterTableStmt:
		return slices.ContainsFunc(n.AlterTableStmt.GetCmds(), func(cmd *pg_query.Node) bool { return cmd.GetAlterTableCmd().GetBehavior() == cascade })
	case *pg_query.Node_GrantStmt:
		return n.GrantStmt.GetTargtype() != pg_query.GrantTargetType_ACL_TARGET_OBJECT || n.GrantStmt.GetBehavior() == cascade
	case *pg_query.Node_CreatePublicationStmt:
		return n.CreatePublicationStmt.GetForAllTables()
	}
	return false
}

// runs returns the name of what a statement runs or reads by its name.
func runs(node *pg_query.Node) string {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_ExecuteStmt:
		return n.ExecuteStmt.GetName()
	case *pg_query.Node_FetchStmt:
		return n.FetchStmt.GetPortalname()
	}
	return ""
}

// kindOf returns what the kind of a statement tells; known is false for a node
// that is no statement, or none that we know.
func kindOf(node *pg_query.Node) (k kind, known bool) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		return selectKind(n.SelectStmt), true
	case *pg_query.Node_CopyStmt:
		return copyKind(n.CopyStmt), true
	case *pg_query.Node_ExplainStmt:
		return explainKind(n.ExplainStmt), true
	case *pg_query.Node_FetchStmt:
		return fetchKind(n.FetchStmt), true
	case *pg_query.Node_TransactionStmt:
		k, known = transactionKinds[n.TransactionStmt.GetKind()]
		return k, known
	case *pg_query.Node_VariableSetStmt:
		return variableKind(n.VariableSetStmt), true
	case *pg_query.Node_VacuumStmt:
		return vacuumKind(n.VacuumStmt), true
	case *pg_query.Node_GrantStmt:
		return grantKind(n.GrantStmt.GetIsGrant()), true
	case *pg_query.Node_GrantRoleStmt:
		return grantKind(n.GrantRoleStmt.GetIsGrant()), true
	}
	if k, known = objectKind(node); known {
		return k, true
	}
	m := inner(node)
	if m == nil {
		return kind{}, false
	}
	name := string(m.Descriptor().Name())
	if k, known = kinds[name]; known {
		return k, true
	}
	k, known = ddlKinds[name]
	return k, known
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

func selectKind(n *pg_query.SelectStmt) kind {
	if n.GetIntoClause() != nil {
		return kind{"SELECT INTO", operation.DDL, shares}
	}
	return kind{"SELECT", operation.Read, shares | harmless}
}

func fetchKind(n *pg_query.FetchStmt) kind {
	if n.GetIsmove() {
		return kind{"MOVE", operation.Read, shares | hides}
	}
	return kind{"FETCH", operation.Read, shares | hides}
}

func vacuumKind(n *pg_query.VacuumStmt) kind {
	if n.GetIsVacuumcmd() {
		return kind{"VACUUM", operation.Admin, 0}
	}
	return kind{"ANALYZE", operation.Admin, 0}
}

func grantKind(isGrant bool) kind {
	if isGrant {
		return kind{"GRANT", operation.Privilege, 0}
	}
	return kind{"REVOKE", operation.Privilege, 0}
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
