package sqltext

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/operation"
)

// objectKind knows the statements that are named by what they are about.
func objectKind(node *pg_query.Node) (kind, bool) {
	ddl := func(verb string, object pg_query.ObjectType, traits trait) (kind, bool) {
		return kind{verb + " " + objectWords(object), operation.DDL, traits}, true
	}
	switch n := node.GetNode().(type) {
	case *pg_query.Node_CreateTableAsStmt:
		return createAsKind(n.CreateTableAsStmt), true
	case *pg_query.Node_CreateFunctionStmt:
		if n.CreateFunctionStmt.GetIsProcedure() {
			return ddl("CREATE", pg_query.ObjectType_OBJECT_PROCEDURE, defines)
		}
		return ddl("CREATE", pg_query.ObjectType_OBJECT_FUNCTION, defines)
	case *pg_query.Node_DefineStmt:
		return ddl("CREATE", n.DefineStmt.GetKind(), defines)
	case *pg_query.Node_AlterTableStmt:
		return ddl("ALTER", alteredKind(n.AlterTableStmt), 0)
	case *pg_query.Node_AlterOwnerStmt:
		return ddl("ALTER", n.AlterOwnerStmt.GetObjectType(), 0)
	case *pg_query.Node_AlterObjectSchemaStmt:
		return ddl("ALTER", n.AlterObjectSchemaStmt.GetObjectType(), 0)
	case *pg_query.Node_AlterObjectDependsStmt:
		return ddl("ALTER", n.AlterObjectDependsStmt.GetObjectType(), 0)
	case *pg_query.Node_AlterFunctionStmt:
		return ddl("ALTER", n.AlterFunctionStmt.GetObjtype(), defines)
	case *pg_query.Node_AlterTableMoveAllStmt:
		return ddl("ALTER", n.AlterTableMoveAllStmt.GetObjtype(), 0)
	case *pg_query.Node_RenameStmt:
		return renameKind(n.RenameStmt), true
	case *pg_query.Node_DropStmt:
		return ddl("DROP", n.DropStmt.GetRemoveType(), 0)
	}
	return kind{}, false
}

// alteredKind is the kind of relation that ALTER TABLE alters: only a foreign
// table has options.
func alteredKind(n *pg_query.AlterTableStmt) pg_query.ObjectType {
	for _, cmd := range n.GetCmds() {
		switch cmd.GetAlterTableCmd().GetSubtype() {
		case pg_query.AlterTableType_AT_GenericOptions, pg_query.AlterTableType_AT_AlterColumnGenericOptions:
			return pg_query.ObjectType_OBJECT_FOREIGN_TABLE
		}
	}
	return n.GetObjtype()
}

func createAsKind(n *pg_query.CreateTableAsStmt) kind {
	switch {
	case n.GetIsSelectInto():
		return kind{"SELECT INTO", operation.DDL, 0}
	case n.GetObjtype() == pg_query.ObjectType_OBJECT_MATVIEW:
		return kind{"CREATE MATERIALIZED VIEW", operation.DDL, 0}
	}
	return kind{"CREATE TABLE AS", operation.DDL, 0}
}

// renameKind: a column, constraint or attribute is renamed by ALTER of what it
// is part of.
func renameKind(n *pg_query.RenameStmt) kind {
	switch n.GetRenameType() {
	case pg_query.ObjectType_OBJECT_ROLE:
		return kind{"ALTER ROLE", operation.Privilege, 0}
	case pg_query.ObjectType_OBJECT_COLUMN, pg_query.ObjectType_OBJECT_TABCONSTRAINT:
		if n.GetRelationType() != pg_query.ObjectType_OBJECT_TYPE_UNDEFINED {
			return kind{"ALTER " + objectWords(n.GetRelationType()), operation.DDL, 0}
		}
		return kind{"ALTER TABLE", operation.DDL, 0}
	case pg_query.ObjectType_OBJECT_ATTRIBUTE:
		return kind{"ALTER TYPE", operation.DDL, 0}
	case pg_query.ObjectType_OBJECT_DOMCONSTRAINT:
		return kind{"ALTER DOMAIN", operation.DDL, 0}
	}
	return kind{"ALTER " + objectWords(n.GetRenameType()), operation.DDL, 0}
}

// objectWords returns what SQL calls a type of object: mostly the parser's
// own name for it.
func objectWords(t pg_query.ObjectType) string {
	switch t {
	case pg_query.ObjectType_OBJECT_MATVIEW:
		return "MATERIALIZED VIEW"
	case pg_query.ObjectType_OBJECT_FDW:
		return "FOREIGN DATA WRAPPER"
	case pg_query.ObjectType_OBJECT_FOREIGN_SERVER:
		return "SERVER"
	case pg_query.ObjectType_OBJECT_LARGEOBJECT:
		return "LARGE OBJECT"
	case pg_query.ObjectType_OBJECT_OPCLASS:
		return "OPERATOR CLASS"
	case pg_query.ObjectType_OBJECT_OPFAMILY:
		return "OPERATOR FAMILY"
	case pg_query.ObjectType_OBJECT_STATISTIC_EXT:
		return "STATISTICS"
	case pg_query.ObjectType_OBJECT_TSCONFIGURATION:
		return "TEXT SEARCH CONFIGURATION"
	case pg_query.ObjectType_OBJECT_TSDICTIONARY:
		return "TEXT SEARCH DICTIONARY"
	case pg_query.ObjectType_OBJECT_TSPARSER:
		return "TEXT SEARCH PARSER"
	case pg_query.ObjectType_OBJECT_TSTEMPLATE:
		return "TEXT SEARCH TEMPLATE"
	}
	return strings.ReplaceAll(strings.TrimPrefix(t.String(), "OBJECT_"), "_", " ")
}
