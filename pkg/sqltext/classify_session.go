package sqltext

import (
	"github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/operation"
)

// sessionKind knows statements that change the session or its transaction.
// What sets a parameter is not harmless: it changes what later statements mean.
func sessionKind(node *pg_query.Node) (kind, bool) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_TransactionStmt:
		k, ok := transactionKinds[n.TransactionStmt.GetKind()]
		return k, ok
	case *pg_query.Node_VariableSetStmt:
		return variableKind(n.VariableSetStmt), true
	case *pg_query.Node_VariableShowStmt:
		return kind{"SHOW", operation.Read, shares | harmless}, true
	case *pg_query.Node_ConstraintsSetStmt:
		return kind{"SET CONSTRAINTS", operation.Transaction, shares}, true
	case *pg_query.Node_LockStmt:
		return kind{"LOCK", operation.Transaction, shares}, true
	case *pg_query.Node_DiscardStmt:
		return kind{"DISCARD", operation.SessionSet, shares}, true
	case *pg_query.Node_DeallocateStmt:
		return kind{"DEALLOCATE", operation.SessionSet, shares | harmless}, true
	case *pg_query.Node_ListenStmt:
		return kind{"LISTEN", operation.SessionSet, shares}, true
	case *pg_query.Node_UnlistenStmt:
		return kind{"UNLISTEN", operation.SessionSet, shares}, true
	case *pg_query.Node_NotifyStmt:
		return kind{"NOTIFY", operation.Write, 0}, true
	}
	return kind{}, false
}

// transactionKinds: what commits makes lasting what was not yet.
var transactionKinds = map[pg_query.TransactionStmtKind]kind{
	pg_query.TransactionStmtKind_TRANS_STMT_BEGIN:             {"BEGIN", operation.Transaction, shares | harmless},
	pg_query.TransactionStmtKind_TRANS_STMT_START:             {"START TRANSACTION", operation.Transaction, shares | harmless},
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT:            {"COMMIT", operation.Transaction, shares},
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK:          {"ROLLBACK", operation.Transaction, shares | harmless},
	pg_query.TransactionStmtKind_TRANS_STMT_SAVEPOINT:         {"SAVEPOINT", operation.Transaction, shares | harmless},
	pg_query.TransactionStmtKind_TRANS_STMT_RELEASE:           {"RELEASE SAVEPOINT", operation.Transaction, shares | harmless},
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:       {"ROLLBACK TO SAVEPOINT", operation.Transaction, shares | harmless},
	pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:           {"PREPARE TRANSACTION", operation.Transaction, 0},
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:   {"COMMIT PREPARED", operation.Transaction, 0},
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED: {"ROLLBACK PREPARED", operation.Transaction, 0},
}

// variableKind names SET by what it sets, however it is spelt: SET role = x is
// SET ROLE.
func variableKind(n *pg_query.VariableSetStmt) kind {
	switch foldName(n.GetName()) {
	case "role":
		return kind{"SET ROLE", operation.SessionSet, 0}
	case "session_authorization":
		return kind{"SET SESSION AUTHORIZATION", operation.SessionSet, 0}
	case "transaction", "transaction snapshot":
		return kind{"SET TRANSACTION", operation.Transaction, 0}
	}
	switch n.GetKind() {
	case pg_query.VariableSetKind_VAR_RESET, pg_query.VariableSetKind_VAR_RESET_ALL:
		return kind{"RESET", operation.SessionSet, 0}
	}
	return kind{"SET", operation.SessionSet, 0}
}

// adminKind knows statements about the server, and about who may do what.
func adminKind(node *pg_query.Node) (kind, bool) {
	admin := func(name string) (kind, bool) { return kind{name, operation.Admin, 0}, true }
	privilege := func(name string) (kind, bool) { return kind{name, operation.Privilege, 0}, true }
	switch n := node.GetNode().(type) {
	case *pg_query.Node_VacuumStmt:
		if n.VacuumStmt.GetIsVacuumcmd() {
			return admin("VACUUM")
		}
		return admin("ANALYZE")
	case *pg_query.Node_ClusterStmt:
		return admin("CLUSTER")
	case *pg_query.Node_ReindexStmt:
		return admin("REINDEX")
	case *pg_query.Node_CheckPointStmt:
		return admin("CHECKPOINT")
	case *pg_query.Node_AlterSystemStmt:
		return admin("ALTER SYSTEM")
	case *pg_query.Node_AlterDatabaseSetStmt:
		return admin("ALTER DATABASE")
	case *pg_query.Node_LoadStmt:
		return kind{"LOAD", operation.Admin, hides}, true
	case *pg_query.Node_GrantStmt:
		if n.GrantStmt.GetIsGrant() {
			return privilege("GRANT")
		}
		return privilege("REVOKE")
	case *pg_query.Node_GrantRoleStmt:
		if n.GrantRoleStmt.GetIsGrant() {
			return privilege("GRANT")
		}
		return privilege("REVOKE")
	case *pg_query.Node_AlterDefaultPrivilegesStmt:
		return privilege("ALTER DEFAULT PRIVILEGES")
	case *pg_query.Node_CreateRoleStmt:
		return privilege("CREATE ROLE")
	case *pg_query.Node_AlterRoleStmt, *pg_query.Node_AlterRoleSetStmt:
		return privilege("ALTER ROLE")
	case *pg_query.Node_DropRoleStmt:
		return privilege("DROP ROLE")
	case *pg_query.Node_DropOwnedStmt:
		return privilege("DROP OWNED")
	case *pg_query.Node_ReassignOwnedStmt:
		return privilege("REASSIGN OWNED")
	case *pg_query.Node_CreateUserMappingStmt:
		return privilege("CREATE USER MAPPING")
	case *pg_query.Node_AlterUserMappingStmt:
		return privilege("ALTER USER MAPPING")
	case *pg_query.Node_DropUserMappingStmt:
		return privilege("DROP USER MAPPING")
	case *pg_query.Node_SecLabelStmt:
		return privilege("SECURITY LABEL")
	}
	return kind{}, false
}
