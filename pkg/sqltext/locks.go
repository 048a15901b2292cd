package sqltext

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// LockMode is a table-level lock (PostgreSQL manual, "Explicit Locking"),
// weakest first. The zero value is none.
type LockMode int

// The modes, in the order of the server's lockdefs.h.
const (
	NoLock LockMode = iota
	AccessShare
	RowShare
	RowExclusive
	ShareUpdateExclusive
	Share
	ShareRowExclusive
	Exclusive
	AccessExclusive
)

var lockNames = [...]string{
	"", "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
}

// String is the mode as SQL writes it.
func (m LockMode) String() string {
	if m < NoLock || m > AccessExclusive {
		return lockNames[AccessExclusive]
	}
	return lockNames[m]
}

// Lock is a lock that a statement takes on a relation which it changes or
// defines something of. Some versions take a weaker one.
type Lock struct {
	Relation string
	Mode     LockMode
}

// locks are those of one statement by itself, as PostgreSQL 15 takes them. What
// is not known is the strongest.
func locks(m protoreflect.Message, writes []string) []Lock {
	mode := AccessExclusive
	var more []Lock
	switch n := m.Interface().(type) {
	case *pg_query.InsertStmt, *pg_query.UpdateStmt, *pg_query.DeleteStmt, *pg_query.MergeStmt, *pg_query.CopyStmt:
		mode = RowExclusive
	case *pg_query.IndexStmt:
		mode = concurrently(n.GetConcurrent(), Share)
	case *pg_query.DropStmt:
		mode = concurrently(n.GetConcurrent(), AccessExclusive)
	case *pg_query.ReindexStmt:
		mode = reindexing(n)
	case *pg_query.VacuumStmt:
		return vacuuming(n)
	case *pg_query.RefreshMatViewStmt:
		if n.GetConcurrent() {
			mode = Exclusive
		}
	case *pg_query.CreateTrigStmt, *pg_query.AlterSeqStmt:
		mode = ShareRowExclusive
	case *pg_query.CommentStmt, *pg_query.SecLabelStmt:
		mode = ShareUpdateExclusive
	case *pg_query.RenameStmt:
		if n.GetRenameType() == pg_query.ObjectType_OBJECT_INDEX {
			mode = ShareUpdateExclusive
		}
	case *pg_query.CreateStatsStmt:
		for _, node := range n.GetRelations() {
			more = append(more, Lock{relationName(node.GetRangeVar()), ShareUpdateExclusive})
		}
	case *pg_query.LockStmt:
		for _, node := range n.GetRelations() {
			more = append(more, Lock{relationName(node.GetRangeVar()), LockMode(n.GetMode())})
		}
	case *pg_query.GrantStmt:
		return nil
	case *pg_query.CreateStmt:
		return creating(n)
	case *pg_query.AlterTableStmt:
		mode, more = altering(n)
	}
	for _, name := range writes {
		more = append(more, Lock{name, mode})
	}
	return more
}

func concurrently(is bool, otherwise LockMode) LockMode {
	if is {
		return ShareUpdateExclusive
	}
	return otherwise
}

// reindexing: of an index its table has SHARE, and the index itself more.
func reindexing(n *pg_query.ReindexStmt) LockMode {
	mode := Share
	if n.GetKind() == pg_query.ReindexObjectType_REINDEX_OBJECT_INDEX {
		mode = AccessExclusive
	}
	return concurrently(hasOption(n.GetParams(), "concurrently"), mode)
}

func vacuuming(n *pg_query.VacuumStmt) (found []Lock) {
	mode := ShareUpdateExclusive
	if hasOption(n.GetOptions(), "full") {
		mode = AccessExclusive
	}
	for _, node := range n.GetRels() {
		found = append(found, Lock{relationName(node.GetVacuumRelation().GetRelation()), mode})
	}
	return found
}

// hasOption reports whether an option is there, whatever its value.
func hasOption(options []*pg_query.Node, name string) bool {
	return slices.ContainsFunc(options, func(o *pg_query.Node) bool { return o.GetDefElem().GetDefname() == name })
}

// creating are the locks on what a new table belongs to or refers to.
func creating(n *pg_query.CreateStmt) (found []Lock) {
	mode := ShareUpdateExclusive
	if n.GetPartbound() != nil {
		mode = AccessExclusive
	}
	for _, parent := range n.GetInhRelations() {
		found = append(found, Lock{relationName(parent.GetRangeVar()), mode})
	}
	constraints := slices.Clone(n.GetConstraints())
	for _, element := range n.GetTableElts() {
		constraints = append(append(constraints, element), element.GetColumnDef().GetConstraints()...)
	}
	return append(found, referred(constraints)...)
}

// referred are the locks on tables that foreign keys refer to.
func referred(constraints []*pg_query.Node) (found []Lock) {
	for _, node := range constraints {
		if c := node.GetConstraint(); c.GetContype() == pg_query.ConstrType_CONSTR_FOREIGN {
			found = append(found, Lock{relationName(c.GetPktable()), ShareRowExclusive})
		}
	}
	return found
}

// altering is the strongest lock that a command of ALTER TABLE takes on the
// table, and what they take on others (AlterTableGetLockLevel of tablecmds.c).
func altering(n *pg_query.AlterTableStmt) (mode LockMode, more []Lock) {
	if n.GetObjtype() == pg_query.ObjectType_OBJECT_SEQUENCE {
		return ShareRowExclusive, nil
	}
	for _, node := range n.GetCmds() {
		cmd := node.GetAlterTableCmd()
		mode = max(mode, commandLock(cmd))
		definition := cmd.GetDef()
		more = append(more, referred(append(slices.Clone(definition.GetColumnDef().GetConstraints()), definition))...)
		if partition := definition.GetPartitionCmd(); partition.GetName() != nil {
			more = append(more, Lock{relationName(partition.GetName()), AccessExclusive})
		}
		if parent := definition.GetRangeVar(); parent != nil {
			more = append(more, Lock{relationName(parent), ShareUpdateExclusive})
		}
	}
	return mode, more
}

func commandLock(cmd *pg_query.AlterTableCmd) LockMode {
	switch cmd.GetSubtype() {
	case pg_query.AlterTableType_AT_SetStatistics, pg_query.AlterTableType_AT_ClusterOn, pg_query.AlterTableType_AT_DropCluster,
		pg_query.AlterTableType_AT_SetOptions, pg_query.AlterTableType_AT_ResetOptions, pg_query.AlterTableType_AT_ValidateConstraint,
		pg_query.AlterTableType_AT_AttachPartition, pg_query.AlterTableType_AT_DetachPartitionFinalize:
		return ShareUpdateExclusive
	case pg_query.AlterTableType_AT_DetachPartition:
		return concurrently(cmd.GetDef().GetPartitionCmd().GetConcurrent(), AccessExclusive)
	case pg_query.AlterTableType_AT_EnableTrig, pg_query.AlterTableType_AT_EnableAlwaysTrig, pg_query.AlterTableType_AT_EnableReplicaTrig,
		pg_query.AlterTableType_AT_DisableTrig, pg_query.AlterTableType_AT_EnableTrigAll, pg_query.AlterTableType_AT_DisableTrigAll,
		pg_query.AlterTableType_AT_EnableTrigUser, pg_query.AlterTableType_AT_DisableTrigUser:
		return ShareRowExclusive
	case pg_query.AlterTableType_AT_AddConstraint:
		if cmd.GetDef().GetConstraint().GetContype() == pg_query.ConstrType_CONSTR_FOREIGN {
			return ShareRowExclusive
		}
	case pg_query.AlterTableType_AT_SetRelOptions, pg_query.AlterTableType_AT_ResetRelOptions:
		if !slices.ContainsFunc(cmd.GetDef().GetList().GetItems(), weighty) {
			return ShareUpdateExclusive
		}
	}
	return AccessExclusive
}

// weighty reports whether a storage parameter may need the strongest lock.
func weighty(option *pg_query.Node) bool {
	name := option.GetDefElem().GetDefname()
	return name != "fillfactor" && name != "toast_tuple_target" && name != "parallel_workers" && !strings.HasPrefix(name, "autovacuum_")
}
