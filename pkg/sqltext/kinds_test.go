package sqltext_test

import (
	"strings"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// notStatements are nodes whose names end in Stmt and that no text begins
// with: wrappers, and what only the planner or PL/pgSQL makes.
var notStatements = map[string]bool{
	"RawStmt": true, "PLAssignStmt": true, "ReturnStmt": true, "SetOperationStmt": true,
}

func TestEveryKindOfStatementIsDecided(t *testing.T) {
	fields := (&pg_query.Node{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	decided := 0
	for i := range fields.Len() {
		fd := fields.Get(i)
		name := string(fd.Message().Name())
		if !strings.HasSuffix(name, "Stmt") {
			continue
		}
		st := sqltext.Classify(nodeOf(fd))
		known := st.Class != operation.UnknownSQL
		// A TransactionStmt is one of several by a field that is not set here.
		if known == notStatements[name] && name != "TransactionStmt" {
			t.Errorf("%s: got %q of class %q", name, st.Kind, st.Class)
		}
		if !known && (!st.Opaque || st.ReadOnly) {
			t.Errorf("%s is unknown but opaque is %v, read-only %v", name, st.Opaque, st.ReadOnly)
		}
		decided++
	}
	if decided < 100 {
		t.Errorf("only %d kinds of statement were found", decided)
	}
}

func TestEveryKindOfTransactionStatementIsDecided(t *testing.T) {
	for value, name := range pg_query.TransactionStmtKind_name {
		node := &pg_query.Node{Node: &pg_query.Node_TransactionStmt{
			TransactionStmt: &pg_query.TransactionStmt{Kind: pg_query.TransactionStmtKind(value)},
		}}
		st := sqltext.Classify(node)
		if unknown := value == 0; unknown != (st.Class == operation.UnknownSQL) {
			t.Errorf("%s: got %q of class %q", name, st.Kind, st.Class)
		}
	}
}

// nodeOf returns a node that holds an empty message in field fd.
func nodeOf(fd protoreflect.FieldDescriptor) *pg_query.Node {
	node := &pg_query.Node{}
	m := node.ProtoReflect()
	m.Set(fd, m.NewField(fd))
	return node
}
