package postgres

import (
	"github.com/jackc/pgproto3/v2"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// serverError handles a failure. In a pipeline the server skips to Sync, so
// that all debts before the next Sync are void.
func (c *conversation) serverError(s *stream, frame []byte, head *debt) {
	code := errorCode(frame)
	if head == nil {
		c.relayError(s, frame, nil) // the server ends the session by itself
		return
	}
	c.copyIn = false
	outcome := protocol.Outcome{Status: protocol.Failed, Code: code}
	tallied := head.own && (head.purpose == forTally || head.purpose == forDeferred)
	switch {
	case head.purpose == forError:
		c.swallow(s, len(frame))
		c.write(protocol.ClientLeg, head.op.refusal, head.op)
		outcome = head.op.Outcome
	case tallied && c.tallyFailed(outcome):
		c.swallow(s, len(frame))
	default:
		c.relayError(s, frame, head)
	}
	switch head.kind {
	case oweQuery, oweCall:
		head.op.end(outcome) // ReadyForQuery follows
	case oweSync:
		c.resume(false) // ReadyForQuery follows
	default:
		c.void(outcome)
	}
	switch o := c.tally.op; {
	case !tallied:
	case c.tally.ending == countingBefore || c.tally.ending == countingAfter:
		c.commitFailed(outcome)
	case o != nil && o.limit.portal:
		c.endTally()
	}
}

// relayError passes an error on, in other words where it may quote a masked
// value. What our own questions run into is the client's error too.
func (c *conversation) relayError(s *stream, frame []byte, head *debt) {
	var o *op
	touched := c.dirty
	if head != nil {
		o = head.op
		touched = touched || head.own || head.touched(c)
		if head.own && c.tally.op != nil {
			o = c.tally.op
		}
		if head.own && c.front.op != nil {
			o = c.front.op
			c.front.failed = head.purpose == forProbe || head.purpose == forBegin || head.purpose == forTally || head.purpose == forDeferred
			o.end(protocol.Outcome{Status: protocol.Failed, Code: errorCode(frame)})
		}
		if head.own && (head.purpose == forCatalog || head.purpose == forStanding) {
			c.catalog.failed = c.catalog.failed || head.purpose == forCatalog
			c.swallow(s, len(frame))
			c.catalogFailed()
			return
		}
	}
	if !c.wordsWithheld(frame, touched) {
		c.pass(s, len(frame), o)
		return
	}
	c.swallow(s, len(frame))
	c.synthesise(protocol.ClientLeg, o, func(dst []byte) []byte { return withheldError(dst, frame) })
}

// touched reports whether the answer to a debt may concern a masked relation.
func (d *debt) touched(c *conversation) bool {
	if d.op != nil {
		return d.op.touched
	}
	stmt := d.stmt
	if d.portal != nil {
		stmt = d.portal.stmt
	}
	return stmt == nil || c.touch(c.calling(stmt.analysis)).touched
}

// void takes back everything up to the next Sync.
func (c *conversation) void(outcome protocol.Outcome) {
	first := true
	for c.queue.len() > 0 && c.queue.head().kind != oweSync {
		d := c.queue.pop()
		c.voided = append(c.voided, d.undo)
		if !first && d.purpose == forError {
			outcome = d.op.Outcome // it was refused, whatever else failed first
		}
		c.finish(d, outcome)
		first, outcome = false, protocol.Outcome{Status: protocol.Abandoned}
	}
	for i := len(c.voided) - 1; i >= 0; i-- {
		c.prepared.revert(c.voided[i])
	}
	clear(c.voided)
	c.voided = c.voided[:0]
	c.skip = c.queue.len() == 0
	if c.skip && c.lostSync && !c.conn.Observe {
		c.lostSync, c.skip = false, false
		c.write(protocol.ServerLeg, []byte{msgSync, 0, 0, 0, 4}, nil)
		c.queue.push(debt{kind: oweSync})
	}
	c.resume(true)
}

// serverNotice relays a notice, in other words where it may quote a masked
// value.
func (c *conversation) serverNotice(s *stream, frame []byte, head *debt) {
	var o *op
	touched := c.dirty
	if head != nil {
		o = head.op
		touched = touched || head.own || c.catalog.needed() && head.touched(c)
	}
	if head != nil && head.own {
		c.swallow(s, len(frame))
		return
	}
	if !c.wordsWithheld(frame, touched) {
		c.pass(s, len(frame), o)
		return
	}
	c.swallow(s, len(frame))
	c.synthesise(protocol.ClientLeg, o, func(dst []byte) []byte { return withheldNotice(dst, frame) })
}

// serverNotification relays a notification. Where values are masked its
// payload, which any session may have filled, is left out.
func (c *conversation) serverNotification(s *stream, frame []byte) {
	r := reader{b: frame[headerSize:]}
	pid, channel := r.take(4), r.cstring()
	if !r.bad && !c.catalog.needed() && !(c.detects() && c.quotes(frame)) {
		c.pass(s, len(frame), nil)
		return
	}
	c.swallow(s, len(frame))
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
		dst, mark := open(dst, msgNotification)
		dst = append(append(append(dst, pid...), channel...), 0, 0)
		return shut(dst, mark)
	})
}

// withheld stands for words that may quote a masked value.
const withheld = "sluice: the server's words are withheld, because they may quote a masked value"

// withheldError is an ErrorResponse with its severity and SQLSTATE only.
func withheldError(dst, frame []byte) []byte {
	var e pgproto3.ErrorResponse
	if e.Decode(frame[headerSize:]) != nil || e.SeverityUnlocalized == "" {
		return appendError(dst, "ERROR", stateUndecided, withheld)
	}
	return appendError(dst, e.SeverityUnlocalized, e.Code, withheld)
}

// withheldNotice is a NoticeResponse with its severity and SQLSTATE only.
func withheldNotice(dst, frame []byte) []byte {
	var n pgproto3.NoticeResponse
	if n.Decode(frame[headerSize:]) != nil || n.SeverityUnlocalized == "" {
		return appendNotice(dst, withheld)
	}
	return appendFields(dst, msgNotice, n.SeverityUnlocalized, n.Code, withheld)
}

// errorCode is the SQLSTATE of an ErrorResponse: five characters, or none.
func errorCode(frame []byte) string {
	r := reader{b: frame[headerSize:]}
	for {
		field := r.uint8()
		if field == 0 {
			return ""
		}
		value := r.cstring()
		if field == 'C' && len(value) == 5 {
			return string(value)
		}
	}
}
