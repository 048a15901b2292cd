package sqltext

import (
	"strings"

	"github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/operation"
)

func ddl(name string) (kind, bool) { return kind{name, operation.DDL, 0}, true }

// opaqueDDL runs code that the text does not show, or reads what it does not
// name.
func opaqueDDL(name string) (kind, bool) { return kind{name, operation.DDL, hides}, true }

// codeDDL defines code, or makes a name stand for some, that runs later.
func codeDDL(name string) (kind, bool) { return kind{name, operation.DDL, defines}, true }

func createKind(node *pg_query.Node) (kind, bool) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_CreateStmt:
		return ddl("CREATE TABLE")
	case *pg_query.Node_CreateTableAsStmt:
		return createAsKind(n.CreateTableAsStmt)
	case *pg_query.Node_ViewStmt:
		return ddl("CREATE VIEW")
	case *pg_query.Node_IndexStmt:
		return ddl("CREATE INDEX")
	case *pg_query.Node_CreateSeqStmt:
		return ddl("CREATE SEQUENCE")
	case *pg_query.Node_CreateSchemaStmt:
		return ddl("CREATE SCHEMA")
	case *pg_query.Node_CreatedbStmt:
		return ddl("CREATE DATABASE")
	case *pg_query.Node_CreateTableSpaceStmt:
		return ddl("CREATE TABLESPACE")
	case *pg_query.Node_CreateDomainStmt:
		return ddl("CREATE DOMAIN")
	case *pg_query.Node_CompositeTypeStmt, *pg_query.Node_CreateEnumStmt:
		return ddl("CREATE TYPE")
	case *pg_query.Node_CreateRangeStmt:
		return codeDDL("CREATE TYPE")
	case *pg_query.Node_DefineStmt:
		return codeDDL("CREATE " + objectWords(n.DefineStmt.GetKind()))
	case *pg_query.Node_CreateFunctionStmt:
		if n.CreateFunctionStmt.GetIsProcedure() {
			return codeDDL("CREATE PROCEDURE")
		}
		return codeDDL("CREATE FUNCTION")
	case *pg_query.Node_CreateTrigStmt:
		return codeDDL("CREATE TRIGGER")
	case *pg_query.Node_CreateEventTrigStmt:
		return codeDDL("CREATE EVENT TRIGGER")
	case *pg_query.Node_RuleStmt:
		return ddl("CREATE RULE")
	case *pg_query.Node_CreatePolicyStmt:
		return ddl("CREATE POLICY")
	case *pg_query.Node_CreateExtensionStmt:
		return opaqueDDL("CREATE EXTENSION")
	case *pg_query.Node_CreatePlangStmt:
		return codeDDL("CREATE LANGUAGE")
	case *pg_query.Node_CreateCastStmt:
		return codeDDL("CREATE CAST")
	case *pg_query.Node_CreateConversionStmt:
		return codeDDL("CREATE CONVERSION")
	case *pg_query.Node_CreateTransformStmt:
		return codeDDL("CREATE TRANSFORM")
	case *pg_query.Node_CreateAmStmt:
		return codeDDL("CREATE ACCESS METHOD")
	case *pg_query.Node_CreateOpClassStmt:
		return codeDDL("CREATE OPERATOR CLASS")
	case *pg_query.Node_CreateOpFamilyStmt:
		return ddl("CREATE OPERATOR FAMILY")
	case *pg_query.Node_CreateStatsStmt:
		return ddl("CREATE STATISTICS")
	case *pg_query.Node_CreateFdwStmt:
		return codeDDL("CREATE FOREIGN DATA WRAPPER")
	case *pg_query.Node_CreateForeignServerStmt:
		return ddl("CREATE SERVER")
	case *pg_query.Node_CreateForeignTableStmt:
		return codeDDL("CREATE FOREIGN TABLE")
	case *pg_query.Node_ImportForeignSchemaStmt:
		return opaqueDDL("IMPORT FOREIGN SCHEMA")
	case *pg_query.Node_CreatePublicationStmt:
		return ddl("CREATE PUBLICATION")
	case *pg_query.Node_CreateSubscriptionStmt:
		return opaqueDDL("CREATE SUBSCRIPTION")
	case *pg_query.Node_CommentStmt:
		return ddl("COMMENT")
	}
	return kind{}, false
}

func createAsKind(n *pg_query.CreateTableAsStmt) (kind, bool) {
	switch {
	case n.GetIsSelectInto():
		return ddl("SELECT INTO")
	case n.GetObjtype() == pg_query.ObjectType_OBJECT_MATVIEW:
		return ddl("CREATE MATERIALIZED VIEW")
	}
	return ddl("CREATE TABLE AS")
}

func alterKind(node *pg_query.Node) (kind, bool) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_AlterTableStmt:
		return ddl("ALTER " + objectWords(n.AlterTableStmt.GetObjtype()))
	case *pg_query.Node_RenameStmt:
		return renameKind(n.RenameStmt)
	case *pg_query.Node_AlterOwnerStmt:
		return ddl("ALTER " + objectWords(n.AlterOwnerStmt.GetObjectType()))
	case *pg_query.Node_AlterObjectSchemaStmt:
		return ddl("ALTER " + objectWords(n.AlterObjectSchemaStmt.GetObjectType()))
	case *pg_query.Node_AlterObjectDependsStmt:
		return ddl("ALTER " + objectWords(n.AlterObjectDependsStmt.GetObjectType()))
	case *pg_query.Node_AlterFunctionStmt:
		return codeDDL("ALTER " + objectWords(n.AlterFunctionStmt.GetObjtype()))
	case *pg_query.Node_AlterDatabaseStmt, *pg_query.Node_AlterDatabaseRefreshCollStmt:
		return ddl("ALTER DATABASE")
	case *pg_query.Node_AlterDomainStmt:
		return ddl("ALTER DOMAIN")
	case *pg_query.Node_AlterTypeStmt, *pg_query.Node_AlterEnumStmt:
		return ddl("ALTER TYPE")
	case *pg_query.Node_AlterSeqStmt:
		return ddl("ALTER SEQUENCE")
	case *pg_query.Node_AlterCollationStmt:
		return ddl("ALTER COLLATION")
	case *pg_query.Node_AlterPolicyStmt:
		return ddl("ALTER POLICY")
	case *pg_query.Node_AlterStatsStmt:
		return ddl("ALTER STATISTICS")
	case *pg_query.Node_AlterEventTrigStmt:
		return ddl("ALTER EVENT TRIGGER")
	case *pg_query.Node_AlterExtensionStmt:
		return opaqueDDL("ALTER EXTENSION")
	case *pg_query.Node_AlterExtensionContentsStmt:
		return ddl("ALTER EXTENSION")
	case *pg_query.Node_AlterFdwStmt:
		return codeDDL("ALTER FOREIGN DATA WRAPPER")
	case *pg_query.Node_AlterForeignServerStmt:
		return ddl("ALTER SERVER")
	case *pg_query.Node_AlterOpFamilyStmt:
		return codeDDL("ALTER OPERATOR FAMILY")
	case *pg_query.Node_AlterOperatorStmt:
		return codeDDL("ALTER OPERATOR")
	case *pg_query.Node_AlterPublicationStmt:
		return ddl("ALTER PUBLICATION")
	case *pg_query.Node_AlterSubscriptionStmt:
		return opaqueDDL("ALTER SUBSCRIPTION")
	case *pg_query.Node_AlterTsdictionaryStmt:
		return ddl("ALTER TEXT SEARCH DICTIONARY")
	case *pg_query.Node_AlterTsconfigurationStmt:
		return ddl("ALTER TEXT SEARCH CONFIGURATION")
	case *pg_query.Node_AlterTableSpaceOptionsStmt:
		return ddl("ALTER TABLESPACE")
	case *pg_query.Node_AlterTableMoveAllStmt:
		return ddl("ALTER " + objectWords(n.AlterTableMoveAllStmt.GetObjtype()))
	case *pg_query.Node_ReplicaIdentityStmt:
		return ddl("ALTER TABLE")
	}
	return kind{}, false
}

// renameKind: a column, constraint or attribute is renamed by ALTER of what it
// is part of.
func renameKind(n *pg_query.RenameStmt) (kind, bool) {
	switch n.GetRenameType() {
	case pg_query.ObjectType_OBJECT_ROLE:
		return kind{"ALTER ROLE", operation.Privilege, 0}, true
	case pg_query.ObjectType_OBJECT_COLUMN, pg_query.ObjectType_OBJECT_TABCONSTRAINT:
		if n.GetRelationType() != pg_query.ObjectType_OBJECT_TYPE_UNDEFINED {
			return ddl("ALTER " + objectWords(n.GetRelationType()))
		}
		return ddl("ALTER TABLE")
	case pg_query.ObjectType_OBJECT_ATTRIBUTE:
		return ddl("ALTER TYPE")
	case pg_query.ObjectType_OBJECT_DOMCONSTRAINT:
		return ddl("ALTER DOMAIN")
	}
	return ddl("ALTER " + objectWords(n.GetRenameType()))
}

func dropKind(node *pg_query.Node) (kind, bool) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_DropStmt:
		return ddl("DROP " + objectWords(n.DropStmt.GetRemoveType()))
	case *pg_query.Node_DropdbStmt:
		return ddl("DROP DATABASE")
	case *pg_query.Node_DropTableSpaceStmt:
		return ddl("DROP TABLESPACE")
	case *pg_query.Node_DropSubscriptionStmt:
		return ddl("DROP SUBSCRIPTION")
	}
	return kind{}, false
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
