package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/operation"
)

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
