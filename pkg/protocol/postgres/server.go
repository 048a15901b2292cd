package postgres

import (
	"bytes"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// serverFrame handles the next message of the server. It reports false when it
// needs more bytes.
func (c *conversation) serverFrame(s *stream) bool {
	if s.rest > 0 {
		return c.streamed(s, 0, s.op, s.drop)
	}
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	kind, size, err := header(b)
	if err != nil {
		c.violate(protocol.ServerLeg, err)
		return c.conn.Observe
	}
	head := c.queue.head()
	switch {
	case kind == msgDataRow && head != nil && !head.own && head.op != nil && c.rowsPass(head):
		head.op.Outcome.Rows++
		return c.streamed(s, size, head.op, false)
	case kind == msgCopyData && head != nil && head.op != nil && c.copyPasses(head.op):
		return c.streamed(s, size, head.op, false)
	}
	if size > c.plugin.options.MaxMessage {
		c.violate(protocol.ServerLeg, errTooLarge)
		return c.conn.Observe
	}
	if len(b) < size {
		return false
	}
	if !c.serverMessage(s, kind, b[:size]) {
		c.violate(protocol.ServerLeg, errMalformed)
	}
	return !c.halted
}

// serverMessage handles one whole message. It reports false for one that
// nothing asked for.
func (c *conversation) serverMessage(s *stream, kind byte, frame []byte) bool {
	head := c.queue.head()
	switch kind {
	case msgNotice:
		c.serverNotice(s, frame, head)
		return true
	case msgParameterStatus:
		c.settings.follow(frame)
		if !c.dropParameter(s, frame) {
			c.pass(s, len(frame), nil)
		}
		return true
	case msgNotification:
		c.serverNotification(s, frame)
		return true
	case msgErrorResponse:
		c.serverError(s, frame, head)
		return true
	case msgReadyForQuery:
		return c.serverReady(s, frame, head)
	}
	if head == nil {
		return false
	}
	if head.own {
		return c.ownAnswer(s, kind, frame, head)
	}
	return c.answer(s, kind, frame, head)
}

// answer relays a message that belongs to the oldest debt, and settles the
// debt if it is its last.
func (c *conversation) answer(s *stream, kind byte, frame []byte, head *debt) bool {
	switch kind {
	case msgParseComplete, msgBindComplete, msgCloseComplete:
		wanted := [...]byte{oweParse: msgParseComplete, oweBind: msgBindComplete, oweClose: msgCloseComplete}
		if int(head.kind) >= len(wanted) || wanted[head.kind] != kind {
			return false
		}
		c.pass(s, len(frame), nil)
		c.paid(protocol.Outcome{})
	case msgParameterDescription:
		c.pass(s, len(frame), nil)
		return head.kind == oweDescribe && head.portal == nil
	case msgRowDescription, msgNoData:
		return c.answerDescription(s, kind, frame, head)
	case msgDataRow:
		return head.op != nil && c.answerRow(s, frame, head)
	case msgCommandComplete, msgEmptyQueryResponse, msgPortalSuspended:
		return c.answerComplete(s, kind, frame, head)
	case msgCopyInResponse:
		c.copyIn, c.lostSync = c.queue.beginCopy(), false
		c.pass(s, len(frame), head.op)
		c.resume(true) // its data may stand behind a message that waits
	case msgCopyOutResponse:
		return head.op != nil && c.answerCopyOut(s, frame, head.op)
	case msgCopyData:
		return head.op != nil && c.answerCopyData(s, frame, head.op)
	case msgCopyDone:
		c.pass(s, len(frame), head.op)
	case msgFunctionCallResponse:
		return c.answerCall(s, frame, head)
	default:
		return false // CopyBoth is for replication only
	}
	return true
}

// answerDescription learns the columns of the rows to come.
func (c *conversation) answerDescription(s *stream, kind byte, frame []byte, head *debt) bool {
	if head.kind != oweQuery && head.kind != oweDescribe || !c.learn(kind, frame, head) {
		return false
	}
	if head.kind == oweQuery {
		c.pass(s, len(frame), head.op)
		return true
	}
	c.pass(s, len(frame), nil)
	c.paid(protocol.Outcome{})
	return true
}

// answerComplete ends one command.
func (c *conversation) answerComplete(s *stream, kind byte, frame []byte, head *debt) bool {
	if head.kind != oweExecute && head.kind != oweQuery || head.op == nil {
		return false
	}
	if head.op.limit != nil {
		c.answerLimited(s, kind, frame, head)
		return true
	}
	c.pass(s, len(frame), head.op)
	if kind == msgCommandComplete {
		head.op.Outcome.Tag = c.commandTag(frame[headerSize:])
		c.follow(head.op.Outcome.Tag)
		head.op.statement++
		c.named(head.op)
	}
	if head.kind == oweExecute {
		c.paid(protocol.Outcome{Status: protocol.OK})
	}
	return true
}

// commandTag is the server's own summary of a command. Most commands have the
// tag of the one before.
func (c *conversation) commandTag(body []byte) string {
	body = bytes.TrimRight(body, "\x00")
	if string(body) != c.lastTag {
		c.lastTag = string(body)
	}
	return c.lastTag
}

// serverReady ends a query or a pipeline. The status is the server's own.
func (c *conversation) serverReady(s *stream, frame []byte, head *debt) bool {
	if len(frame) != headerSize+1 || head == nil ||
		head.kind != oweSync && head.kind != oweQuery && head.kind != oweCall {
		return false
	}
	c.status = frame[headerSize]
	c.copyIn = false
	c.tally.block, c.tally.failed = c.status != 'I', c.status == 'E'
	if c.status == 'I' {
		c.endTransaction()
	}
	if c.tally.undo && c.status == 'E' {
		c.undo(s, frame)
		return true
	}
	if head.own && head.purpose != forError {
		c.swallow(s, len(frame))
		c.ownReady(c.queue.pop())
		return true
	}
	if c.limitedReady(s, frame, head) {
		return true
	}
	c.pass(s, len(frame), head.op)
	if head.op != nil && head.op.Outcome.Status == "" {
		head.op.Outcome.Status = protocol.OK
	}
	c.paidAs()
	if c.queue.len() == 0 {
		c.settleSession()
	}
	return true
}

// settleSession notes that nothing is under way and all that ran has reported
// what it changed.
func (c *conversation) settleSession() {
	c.unsettled = false
	if c.status != 'I' {
		return
	}
	if c.standing.moved {
		c.standing.moved = false
		c.standing.change() // what was SET LOCAL, or is rolled back, is no more
	}
	c.shaken = false
	c.prepared.endTransaction()
	clear(c.cursors)
	c.dirty = false
	c.invalidate()
	c.settleMoves()
	c.defines, c.installs = false, false
}

// paid removes the oldest debt, which the server has answered.
func (c *conversation) paid(outcome protocol.Outcome) {
	d := c.queue.pop()
	c.prepared.keep(d.undo)
	c.finish(d, outcome)
	c.resume(d.own)
}

// paidAs is paid with the outcome that the operation has already.
func (c *conversation) paidAs() {
	d := c.queue.pop()
	if d.op != nil {
		c.settle(d.op)
	}
	c.resume(d.own)
}

// resume feeds a paused client again when what it may wait for has come.
func (c *conversation) resume(own bool) {
	if !c.paused || (!own && c.queue.len() > 0 && !c.skip) {
		return
	}
	c.paused = false
	c.act(protocol.Action{Kind: protocol.Resume, Leg: protocol.ClientLeg})
}
