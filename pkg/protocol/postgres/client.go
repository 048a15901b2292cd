package postgres

import (
	"bytes"
	"errors"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// front is the client's message that is first in line and not yet forwarded:
// it stays in the buffer, and is fed again after every step of its decision.
type front struct {
	analysis *sqltext.Analysis // of a simple query
	vouched  bool              // catalog.vouches when that was understood
	op       *op
	answered bool
	answer   protocol.Decision
	err      error
	reads    int    // how often the catalog was read for it
	probed   bool   // its columns were asked for
	layout   layout // what a probe of a simple query told
	failed   bool   // a question of ours failed, and the client was told

	stands    int  // how often the standing was asked for it
	confirmed bool // the standing was asked for after people approved it
	bracketed bool // a transaction of ours was begun for it
	tallied   bool // rows that were changed before it were counted
}

var errTwoStrings = errors.New("a statement is not one string")

// clientFrame handles the next message of a ready session. It reports false
// when it needs more bytes.
func (c *conversation) clientFrame(s *stream) bool {
	if s.rest > 0 {
		return c.streamed(s, 0, c.copyOp(), s.drop)
	}
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	kind, size, err := header(b)
	if err != nil {
		c.violate(protocol.ClientLeg, err)
		return c.conn.Observe
	}
	if kind == msgCopyData {
		o := c.copyOp()
		return c.streamed(s, size, o, o == nil || c.skip)
	}
	if size > c.plugin.options.MaxMessage {
		c.violate(protocol.ClientLeg, errTooLarge)
		return c.conn.Observe
	}
	if len(b) < size {
		return false
	}
	c.clientMessage(s, kind, b[:size])
	return !c.halted
}

// copyOp is the operation that COPY data from the client belongs to.
func (c *conversation) copyOp() *op {
	if d := c.queue.copies(); d != nil {
		return d.op
	}
	return nil
}

func (c *conversation) clientMessage(s *stream, kind byte, frame []byte) {
	if c.tally.changed != nil && !c.endsPipeline(kind) {
		return
	}
	if c.skip && kind != msgSync && kind != msgTerminate {
		c.abandonFront()
		c.swallow(s, len(frame))
		return
	}
	if c.queue.heavy(c.plugin.options.MaxMessage) && kind != msgTerminate && !c.awaitIdle() {
		return
	}
	if c.counting != nil && !c.copyIn && kind != msgCopyDone && kind != msgCopyFail && !c.awaitIdle() {
		return
	}
	if c.standBefore(kind) {
		return
	}
	c.piped = c.piped && kind != msgQuery || extended(kind)
	switch kind {
	case msgQuery:
		c.clientQuery(s, frame)
	case msgFunctionCall:
		c.clientCall(s, frame)
	case msgParse:
		c.clientParse(s, frame)
	case msgBind:
		c.clientBind(s, frame)
	case msgDescribe, msgClose:
		c.clientNamed(s, kind, frame)
	case msgExecute:
		c.clientExecute(s, frame)
	case msgSync:
		c.clientSync(s, frame)
	case msgFlush:
		c.pass(s, len(frame), nil)
	case msgCopyDone, msgCopyFail:
		if !c.copyIn {
			c.queue.endCopy()
		}
		c.copyIn = false
		c.pass(s, len(frame), nil)
	case msgTerminate:
		c.pass(s, len(frame), nil)
		c.phase = leaving
		c.act(protocol.Action{Kind: protocol.CloseWrite, Leg: protocol.ServerLeg})
	default:
		c.violate(protocol.ClientLeg, errMalformed)
	}
}

// clientSync ends a pipeline. While it reads COPY data the server ignores a
// Sync, so that none is forwarded then.
func (c *conversation) clientSync(s *stream, frame []byte) {
	if c.copyIn {
		c.lostSync = true
		c.swallow(s, len(frame))
		return
	}
	c.skip, c.piped, c.begun = false, false, false
	if c.standing.moved {
		c.standing.change() // it may end the transaction
	}
	c.pass(s, len(frame), nil)
	c.queue.push(debt{kind: oweSync})
}

// pause waits until the server has answered what it owes. The client's message
// is fed again then.
func (c *conversation) pause() {
	if c.paused {
		return
	}
	c.paused = true
	c.act(protocol.Action{Kind: protocol.Pause, Leg: protocol.ClientLeg})
}

// awaitIdle pauses the client until the server owes nothing. It reports
// whether that is so already.
func (c *conversation) awaitIdle() bool {
	if c.queue.len() == 0 || c.conn.Observe {
		return true
	}
	c.flush()
	c.pause()
	return false
}

// flush makes the server send what it has.
func (c *conversation) flush() {
	c.write(protocol.ServerLeg, []byte{msgFlush, 0, 0, 0, 4}, nil)
}

// ask begins the decision of the message at the front.
func (c *conversation) ask(o *op) {
	c.front.op = o
	c.act(protocol.Action{Kind: protocol.Ask, Op: &o.Pending})
}

// clientQuery decides a simple query as a whole. Simple queries run one at a
// time, so that each is decided in the state that the one before left.
func (c *conversation) clientQuery(s *stream, frame []byte) {
	if !c.awaitIdle() {
		return
	}
	r := reader{b: frame[headerSize:]}
	text := r.cstring()
	if !r.done() {
		c.violate(protocol.ClientLeg, errTwoStrings)
		return
	}
	if c.front.op == nil {
		if c.stand(true) {
			return
		}
		analysis, now := c.understand(text)
		if !now || c.catalog.old(analysis) && c.refresh(nil) {
			return
		}
		o := c.newOp(operation.Statement)
		c.front.analysis, c.front.vouched = analysis, c.catalog.vouches()
		c.describe(o, text, c.calling(analysis), nil)
		o.Operation.Bytes = frame
		c.ask(o)
		return
	}
	if c.front.vouched != c.catalog.vouches() {
		c.front.analysis, c.front.vouched = c.analyse(text), c.catalog.vouches()
	}
	analysis := c.calling(c.front.analysis)
	switch c.clearance(analysis, nil) {
	case wait:
		return
	case refused:
		o := c.front.op
		c.swallow(s, len(frame))
		c.refuseQuery(o)
	case over:
		c.swallow(s, len(frame))
	case cleared:
		o := c.front.op
		c.pass(s, len(frame), nil)
		c.queue.push(debt{kind: oweQuery, op: o, weight: len(frame)})
		c.begun = false
		c.prepared.putStatement("", nil) // a query drops the unnamed statement
		c.layout.reset()
		c.forwarded(o, analysis)
	}
	c.front = front{}
}

// clientParse keeps a statement and forwards it: without an Execute it has no
// effect.
func (c *conversation) clientParse(s *stream, frame []byte) {
	r := reader{b: frame[headerSize:]}
	name, text := r.cstring(), r.cstring()
	types := r.take(4 * r.int16())
	if !r.done() {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	if c.prepared.full(len(frame)) {
		c.swallow(s, len(frame))
		if c.conn.Observe {
			c.queue.push(debt{kind: oweParse})
			return
		}
		c.refuseMessage("53400", "sluice: this session keeps too many prepared statements")
		return
	}
	var analysis *sqltext.Analysis
	if !c.unsettled {
		var now bool
		if analysis, now = c.understand(text); !now {
			return
		}
	}
	stmt := &statement{text: bytes.Clone(text), types: bytes.Clone(types), analysis: analysis, conforming: c.settings.conforming, vouched: c.catalog.vouches()}
	c.pass(s, len(frame), nil)
	c.queue.push(debt{kind: oweParse, weight: len(frame), stmt: stmt, undo: c.prepared.setStatement(name, stmt)})
}

// clientBind keeps a portal's parameters and forwards it.
func (c *conversation) clientBind(s *stream, frame []byte) {
	r := reader{b: frame[headerSize:]}
	name, source := r.cstring(), r.cstring()
	if r.bad {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	if c.prepared.full(len(frame)) {
		c.swallow(s, len(frame))
		if c.conn.Observe {
			c.queue.push(debt{kind: oweBind})
			return
		}
		c.refuseMessage("53400", "sluice: this session keeps too many portals")
		return
	}
	portal := c.prepared.newPortal(c.prepared.statements[string(source)])
	if !portal.bind(&r) {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	c.prepared.bytes += len(portal.values)
	portal.refs++
	portal.moves = c.plugin.targets.moves.Load()
	c.pass(s, len(frame), nil)
	c.queue.push(debt{kind: oweBind, weight: len(frame), portal: portal, undo: c.prepared.setPortal(name, portal)})
}

// clientNamed forwards a Describe or a Close of a statement or portal.
func (c *conversation) clientNamed(s *stream, kind byte, frame []byte) {
	r := reader{b: frame[headerSize:]}
	which, name := r.uint8(), r.cstring()
	if !r.done() || which != 'S' && which != 'P' {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	d := debt{kind: oweDescribe}
	switch {
	case kind == msgClose && which == 'S':
		d = debt{kind: oweClose, undo: c.prepared.setStatement(name, nil)}
	case kind == msgClose:
		d = debt{kind: oweClose, undo: c.prepared.setPortal(name, nil)}
	case which == 'S':
		d.stmt = c.prepared.statements[string(name)]
	default:
		if d.portal = c.prepared.portals[string(name)]; d.portal != nil {
			d.portal.refs++
			d.portal.described = true
		}
	}
	c.pass(s, len(frame), nil)
	c.queue.push(d)
}

// clientExecute decides one run of a portal.
func (c *conversation) clientExecute(s *stream, frame []byte) {
	r := reader{b: frame[headerSize:]}
	name := r.cstring()
	r.int32() // the most rows
	if !r.done() {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	if c.front.op == nil && c.stand(false) {
		return
	}
	portal := c.prepared.portals[string(name)]
	analysis, text := c.portalText(portal)
	if c.front.op == nil && portal != nil && c.catalog.old(analysis) && c.refresh(portal) {
		return
	}
	if c.front.op == nil {
		o := c.newOp(operation.Statement)
		c.describe(o, text, analysis, portal)
		o.Operation.Bytes = frame
		c.ask(o)
		return
	}
	switch c.clearance(analysis, portal) {
	case wait:
		return
	case refused, over:
		o := c.front.op
		c.swallow(s, len(frame))
		c.refuseExecute(o)
	case cleared:
		c.describeFirst(portal, name)
		o := c.front.op
		c.pass(s, len(frame), nil)
		if portal != nil {
			portal.refs++
		}
		c.begun = true
		c.queue.push(debt{kind: oweExecute, weight: len(o.text) + len(o.values), op: o, portal: portal})
		c.forwarded(o, analysis)
	}
	c.front = front{}
}

// abandonFront ends the operation of a message that will not be forwarded. While
// the guard still decides, that is left to the pump.
func (c *conversation) abandonFront() {
	o := c.front.op
	if o == nil || !c.front.answered {
		return
	}
	if !c.front.failed {
		o.end(protocol.Outcome{Status: protocol.Abandoned})
	}
	c.front = front{}
	c.settle(o)
}

// Decided implements protocol.Conversation. The message that was asked about
// is fed again and finds its answer.
func (c *conversation) Decided(answer protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	c.begin(protocol.ClientLeg, to)
	c.front.answered, c.front.answer, c.front.err = true, answer, err
	switch {
	case errors.Is(err, protocol.ErrClientGone):
		c.abandonFront()
		c.act(protocol.Action{Kind: protocol.End})
	case c.phase == deciding && answer.Effect == protocol.Allow && answer.Rule == "" && c.start.replication() != notReplicating:
		c.fatal("28000", "sluice: no rule allows replication")
		c.endLogin(protocol.Outcome{Status: protocol.Refused, Code: "28000"})
	case c.phase == deciding && answer.Effect == protocol.Allow:
		c.act(protocol.Action{Kind: protocol.Dial})
	case c.phase == deciding:
		c.fatal("28000", refusal(answer, err))
		c.endLogin(protocol.Outcome{Status: protocol.Refused, Code: "28000", Rule: answer.Rule})
	case c.phase == cancelling:
		c.cancelDecided(answer)
	default:
		c.tellApproval(answer)
	}
	return c.out
}
