package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// moves returns what a statement moves: by the name that it had, without Column
// where it is the relation itself. Who joins or leaves an inheritance tree is
// the child. ALTER TABLE ONLY that drops a column leaves it to the children.
func moves(node *pg_query.Node) []lineage.Source {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_RenameStmt:
		return renames(n.RenameStmt)
	case *pg_query.Node_AlterTableStmt:
		var moved []lineage.Source
		for _, cmd := range n.AlterTableStmt.GetCmds() {
			moved = append(moved, movedBy(n.AlterTableStmt.GetRelation(), cmd.GetAlterTableCmd())...)
		}
		return moved
	}
	return nil
}

func renames(n *pg_query.RenameStmt) []lineage.Source {
	switch n.GetRenameType() {
	case pg_query.ObjectType_OBJECT_COLUMN:
		return []lineage.Source{{Relation: relationName(n.GetRelation()), Column: n.GetSubname()}}
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_VIEW, pg_query.ObjectType_OBJECT_MATVIEW,
		pg_query.ObjectType_OBJECT_FOREIGN_TABLE, pg_query.ObjectType_OBJECT_INDEX, pg_query.ObjectType_OBJECT_SEQUENCE:
		return []lineage.Source{{Relation: relationName(n.GetRelation())}} // the kind need not be the relation's own
	}
	return nil
}

func movedBy(table *pg_query.RangeVar, cmd *pg_query.AlterTableCmd) []lineage.Source {
	switch cmd.GetSubtype() {
	case pg_query.AlterTableType_AT_AddInherit, pg_query.AlterTableType_AT_DropInherit:
		return []lineage.Source{{Relation: relationName(table)}}
	case pg_query.AlterTableType_AT_AttachPartition, pg_query.AlterTableType_AT_DetachPartition:
		return []lineage.Source{{Relation: relationName(cmd.GetDef().GetPartitionCmd().GetName())}}
	case pg_query.AlterTableType_AT_DropColumn:
		if !table.GetInh() {
			return []lineage.Source{{Relation: relationName(table), Column: cmd.GetName()}}
		}
	}
	return nil
}
