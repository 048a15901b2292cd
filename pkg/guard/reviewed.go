package guard

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
)

// reviewed returns the decision that files which people reviewed make; false
// where they make none. It is in the trail before it has an effect.
//
// Nobody looks at the session any more, so that what the session did before
// must not give the statements another meaning: once it has defined something
// that was not reviewed, a temporary view of a table's name for one, people are
// asked.
func (x *exchange) reviewed(ruling policy.Ruling, request *approval.Request) (protocol.Decision, bool, error) {
	g := x.guard
	if g.Shapes == nil || g.defined.Load() || !shows(x.op) {
		return protocol.Decision{}, false, nil
	}
	digests := g.Shapes(x.op)
	found := g.Desk.Preapproved(request, digests, time.Now())
	if found == nil {
		return protocol.Decision{}, false, nil
	}
	var who []string
	for i := range found.Files {
		file := &found.Files[i]
		who = append(who, file.By)
		used := record.Approval{ID: file.ID, Rule: ruling.Rule, State: record.Preapproved, Approver: file.By, Reason: shapesOf(found.Lines, digests, file)}
		if err := g.Trail.Approval(x.op.ID, used, g.firstUse(file.ID, found.Signed[i]), true); err != nil {
			return protocol.Decision{}, false, err
		}
	}
	x.beforehand = true
	by := strings.Join(who, ", ")
	return protocol.Decision{
		Effect: protocol.Allow, Rule: ruling.Rule, Decider: by,
		Reason: fmt.Sprintf("%s reviewed it in the file sha256 %s", by, found.Files[0].File),
	}, true, nil
}

// shapesOf says which statements of a file were used.
func shapesOf(lines []int, digests [][32]byte, file *approval.Preapproval) string {
	var words []string
	for i, line := range lines {
		words = append(words, fmt.Sprintf("line %d, statement sha256 %s", line, hex.EncodeToString(digests[i][:])))
	}
	text := "file sha256 " + file.File + ": " + strings.Join(words, "; ")
	if file.Reason != "" {
		text += ": " + file.Reason
	}
	return text
}

// firstUse returns the signed bytes the first time that a session uses them:
// one copy is enough to prove what they say.
func (g *Guard) firstUse(id string, signed []byte) []byte {
	if _, again := g.used.LoadOrStore(id, true); again {
		return nil
	}
	return signed
}

// shows reports whether a text shows all that it does.
func shows(op *operation.Operation) bool {
	if !op.Parsed || op.SQL == nil {
		return false
	}
	for i := range op.SQL.Statements {
		s := &op.SQL.Statements[i]
		if s.Opaque || s.Class == operation.Procedural || s.Class == operation.UnknownSQL {
			return false
		}
	}
	return true
}

// defines reports whether an operation may give later texts another meaning.
func defines(op *operation.Operation) bool {
	if op.Kind == operation.Connect || op.Kind == operation.Cancel {
		return false
	}
	if !shows(op) {
		return true
	}
	for i := range op.SQL.Statements {
		if op.SQL.Statements[i].Class == operation.DDL {
			return true
		}
	}
	return false
}
