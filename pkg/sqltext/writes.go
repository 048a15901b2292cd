package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// writes returns the relations that a statement by itself changes, defines or
// drops. A statement that names one relation of its own writes it, except for
// COPY … TO.
func writes(m protoreflect.Message) []string {
	var names []string
	switch n := m.Interface().(type) {
	case *pg_query.CopyStmt:
		if !n.GetIsFrom() {
			return nil
		}
	case *pg_query.DropStmt:
		for _, object := range n.GetObjects() {
			names = append(names, relationOf(n.GetRemoveType(), object))
		}
	case *pg_query.CommentStmt:
		names = append(names, relationOf(n.GetObjtype(), n.GetObject()))
	case *pg_query.SecLabelStmt:
		names = append(names, relationOf(n.GetObjtype(), n.GetObject()))
	case *pg_query.AlterExtensionContentsStmt:
		names = append(names, relationOf(n.GetObjtype(), n.GetObject()))
	case *pg_query.TruncateStmt:
		for _, node := range n.GetRelations() {
			names = append(names, relationName(node.GetRangeVar()))
		}
	case *pg_query.GrantStmt:
		for _, node := range n.GetObjects() {
			if rv := node.GetRangeVar(); rv != nil {
				names = append(names, relationName(rv))
			}
		}
	case *pg_query.CreateForeignTableStmt:
		names = append(names, relationName(n.GetBaseStmt().GetRelation()))
	case *pg_query.CreateTableAsStmt:
		names = append(names, relationName(n.GetInto().GetRel()))
	}
	return append(names, ownRelations(m)...)
}

// ownRelations returns the relations that are fields of the statement itself.
func ownRelations(m protoreflect.Message) []string {
	var names []string
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Kind() != protoreflect.MessageKind || fd.IsList() || !m.Has(fd) {
			continue
		}
		if rv, ok := m.Get(fd).Message().Interface().(*pg_query.RangeVar); ok {
			names = append(names, relationName(rv))
		}
	}
	return names
}

// relationOf returns the relation that an object is or belongs to, "" for
// other objects: triggers, rules, policies, columns and table constraints are
// named by their relation and then themselves.
func relationOf(t pg_query.ObjectType, object *pg_query.Node) string {
	parts := objectName(object)
	switch t {
	case pg_query.ObjectType_OBJECT_TABLE, pg_query.ObjectType_OBJECT_VIEW,
		pg_query.ObjectType_OBJECT_MATVIEW, pg_query.ObjectType_OBJECT_FOREIGN_TABLE,
		pg_query.ObjectType_OBJECT_SEQUENCE, pg_query.ObjectType_OBJECT_INDEX:
	case pg_query.ObjectType_OBJECT_TRIGGER, pg_query.ObjectType_OBJECT_RULE,
		pg_query.ObjectType_OBJECT_POLICY, pg_query.ObjectType_OBJECT_COLUMN,
		pg_query.ObjectType_OBJECT_TABCONSTRAINT:
		if len(parts) > 0 {
			parts = parts[:len(parts)-1]
		}
	default:
		return ""
	}
	return join(withoutDatabase(parts, 2)...)
}
