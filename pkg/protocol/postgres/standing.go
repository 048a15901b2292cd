package postgres

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// standing is as whom the server runs statements and where it looks for names:
// what an approval binds beside the bytes. It is what the server says, never
// what statements said.
type standing struct {
	role, searchPath string

	changes uint64    // what may have changed it: statements, and transactions that took them back
	asked   uint64    // changes when the question under way was sent
	read    uint64    // changes when the one that was answered last was sent
	known   bool      // it was answered at all
	moved   bool      // a statement of this transaction may have changed it
	cells   [3]string // of the answer under way
	taken   int
}

// standingQuestions are answered by one row of one column each. SHOW takes no
// snapshot, so that it may stand before SET TRANSACTION, and names no function
// that the client could shadow.
var standingQuestions = [...]string{"SHOW role", "SHOW session_authorization", "SHOW search_path"}

// stale reports whether the server has to be asked.
func (s *standing) stale() bool { return !s.known || s.read != s.changes }

// change notes that the standing may have changed.
func (s *standing) change() { s.changes++ }

// take keeps one row of the answer.
func (s *standing) take(body []byte) bool {
	r := reader{b: body}
	if r.int16() != 1 || s.taken == len(s.cells) {
		return false
	}
	s.cells[s.taken] = string(r.take(int(r.int32())))
	s.taken++
	return r.done()
}

// answered takes the answer over once it is whole.
func (s *standing) answered() {
	if s.taken < len(s.cells) {
		return
	}
	s.role, s.searchPath = s.cells[0], s.cells[2]
	if s.role == "none" { // which no role can be called
		s.role = s.cells[1]
	}
	s.known, s.read = true, s.asked
}

// readStanding asks the server, like readCatalog.
func (c *conversation) readStanding(sync bool) {
	c.standing.asked, c.standing.taken = c.standing.changes, 0
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst = closeOwn(dst)
		for _, question := range standingQuestions {
			dst = closeOwn(appendOwn(dst, question, nil))
		}
		return appendEnd(dst, sync)
	})
	kinds := [...]debtKind{oweClose, oweClose, oweParse, oweBind, oweExecute}
	for i := range 2 + 5*len(standingQuestions) {
		kind := kinds[i%len(kinds)]
		c.queue.push(debt{kind: kind, own: true, purpose: forStanding})
	}
	if sync {
		c.queue.push(debt{kind: oweSync, own: true, purpose: forStanding})
	}
	c.pause()
}

// stand asks the server for the standing before a message is judged, if what
// is known may be old. It reports whether the message has to wait. A transaction
// that has failed answers nothing.
func (c *conversation) stand(sync bool) bool {
	if !c.standing.stale() || c.conn.Observe || c.front.stands >= maxReads || c.status == 'E' {
		return false
	}
	c.front.stands++
	c.readStanding(sync)
	return true
}

// standBefore asks before the first message of a pipeline. Inside of it a
// question would make the server believe that more than one statement shares
// the transaction, which VACUUM and the like refuse.
func (c *conversation) standBefore(kind byte) bool {
	if !extended(kind) || c.piped || c.copyIn || !c.standing.stale() {
		return false
	}
	return !c.awaitIdle() || c.stand(true)
}

// extended reports whether a message stands in a pipeline, which Sync ends.
func extended(kind byte) bool {
	switch kind {
	case msgParse, msgBind, msgDescribe, msgExecute, msgClose:
		return true
	}
	return false
}

// confirm asks again after people approved a statement, or had before: what
// they saw must still hold. It reports whether the statement has to wait for the answer.
func (c *conversation) confirm(portal *portal) bool {
	f := &c.front
	if f.answer.Decider == "" || f.confirmed || portal == nil && c.status == 'E' {
		return false
	}
	f.confirmed = true
	c.standing.change()
	c.readStanding(portal == nil)
	return true
}

// elsewhere says why a statement does not run as it was decided, if so. A
// transaction that has failed runs nothing.
func (c *conversation) elsewhere(analysis *sqltext.Analysis, portal *portal) string {
	f := &c.front
	was := &f.op.Operation.Context
	switch {
	case !f.confirmed && (steers(analysis) || portal == nil && c.status == 'E'):
		return ""
	case f.confirmed && (c.standing.stale() || was.Role != c.standing.role || was.SearchPath != c.standing.searchPath):
		return "sluice: the role or the search_path is not what was approved, so this statement is refused"
	case was.Unknown && c.guarded():
		return "sluice: the role and the search_path of this statement could not be read, so it is refused"
	}
	return ""
}

// follow notes what a statement that is forwarded may do to the standing.
func (s *standing) follow(statement *sqltext.Statement, own func(call string) bool) {
	switch {
	case s.moved && statement.Class == operation.Transaction: // it may take back what moved
		s.change()
	case slices.ContainsFunc(statement.Effects, moves) && !settles(statement, own):
		s.change()
		s.moved = true
	}
}

// moves reports whether an effect may change the standing.
func moves(e sqltext.Effect) bool {
	switch e.Kind {
	case sqltext.SetAnything, sqltext.ResetAll:
		return true
	case sqltext.Discard:
		return e.Name == "all"
	case sqltext.SetParameter, sqltext.ResetName:
		return e.Name == "role" || e.Name == "session_authorization" || e.Name == "search_path"
	}
	return false
}

// settles reports whether all that a statement may do unseen is to call
// functions of the server's that set no parameter.
func settles(s *sqltext.Statement, own func(call string) bool) bool {
	if s.Hides || len(s.Calls) == 0 || slices.ContainsFunc(s.Effects, func(e sqltext.Effect) bool { return e.Kind != sqltext.SetAnything }) {
		return false
	}
	return !slices.ContainsFunc(s.Calls, func(call string) bool {
		last := lastPart(call)
		return !own(call) || last == "set_config" || last != "nextval" && !slices.Contains(settled[:], last)
	})
}
