package simulate

import (
	"regexp"
	"slices"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// Reader makes operations again from their records. SQL is read anew, because
// a record keeps the text and not all that is known of it; command lines
// likewise.
type Reader struct {
	// Read reads SQL as the agent does, by the session's protocol; parsed is false
	// for what it cannot read. Without one: what the record says of each statement,
	// which is less, and counts as opaque.
	Read map[string]func(text []byte) (statements []operation.SQLStatement, parsed bool)
	// Commands reads a command line as the agent does, because a record keeps
	// its programs without their arguments. nil: those are not known.
	Commands func(line string) (commands []operation.SSHCommand, certain bool)
}

func (r Reader) operation(protocol string, header *record.Header, folded *view.Operation) *operation.Operation {
	in := header.Intent
	op := &operation.Operation{
		ID: header.Operation, Parent: header.Parent, Kind: operation.Kind(in.Kind), Text: operation.Text(folded.Text),
		Parsed: in.Parsed, ReadOnly: in.ReadOnly, Context: operation.Context{Database: in.Database, Role: in.Role},
		SSH: in.SSH.Operation(operation.Text(folded.Text)), Git: in.Git.Operation(),
		Kube: in.Kube.Operation(operation.Text(folded.Text)), HTTP: in.HTTP.Operation(operation.Text(folded.Text)),
	}
	if op.Kind == operation.Unread {
		op.Unread = in.Reason
	}
	if in.Parsed && op.Kind == operation.Statement {
		op.SQL = r.sql(protocol, in, folded.Text)
	}
	if r.Commands != nil && op.Kind == operation.Exec && op.SSH != nil {
		op.SSH.Commands, _ = r.Commands(folded.Text) // whether it was certain is recorded: variables count too
	}
	return op
}

// sealedValue is what stands in a text in place of a value that was not kept.
var sealedValue = regexp.MustCompile(`\[sealed hmac-sha256:[0-9a-f]{16} [0-9]+ bytes\]`)

// sql reads a recorded text, or, where it says something else than the record,
// takes what the record says.
func (r Reader) sql(protocol string, in *record.Intent, text string) *operation.SQL {
	if read := r.Read[protocol]; read != nil {
		found, parsed := read(sealedValue.ReplaceAll([]byte(text), []byte("'sealed'")))
		if parsed && (len(in.Statements) == 0 || len(found) == len(in.Statements)) {
			for i, s := range in.Statements { // the record also has what stood behind the names
				found[i].Relations = slices.Concat(found[i].Relations, s.Relations)
			}
			return &operation.SQL{Statements: found}
		}
	}
	sql := &operation.SQL{}
	for _, s := range in.Statements {
		sql.Statements = append(sql.Statements, operation.SQLStatement{
			Kind: s.Kind, Class: operation.Class(s.Class), Relations: s.Relations, Opaque: true,
		})
	}
	return sql
}
