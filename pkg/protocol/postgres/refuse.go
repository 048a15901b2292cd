package postgres

import (
	"errors"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// What a refusal says, by its SQLSTATE.
const (
	stateRefused   = "42501" // insufficient_privilege
	stateCancelled = "57014" // query_canceled
	stateUndecided = "58000" // system_error
)

// noticeEvery is how often a client that waits is told so.
const noticeEvery = 5 * time.Second

// refusal says in words for the client why an operation was refused.
func refusal(d protocol.Decision, err error) string {
	switch {
	case errors.Is(err, protocol.ErrInterrupted):
		return "canceling statement due to user request"
	case err != nil:
		return "sluice could not decide about this statement, so it is refused"
	}
	return d.Refusal()
}

// refusalState is the SQLSTATE of a refusal.
func refusalState(err error) string {
	switch {
	case errors.Is(err, protocol.ErrInterrupted):
		return stateCancelled
	case err != nil:
		return stateUndecided
	}
	return stateRefused
}

// appendError appends an ErrorResponse.
func appendError(dst []byte, severity, code, message string) []byte {
	return appendFields(dst, msgErrorResponse, severity, code, message)
}

// appendNotice appends a NoticeResponse.
func appendNotice(dst []byte, message string) []byte {
	return appendFields(dst, msgNotice, "NOTICE", "00000", message)
}

// appendFields appends an ErrorResponse or NoticeResponse: severity, the same
// in no language, SQLSTATE and message.
func appendFields(dst []byte, kind byte, severity, code, message string) []byte {
	dst, mark := open(dst, kind)
	dst = appendString(append(dst, 'S'), severity)
	dst = appendString(append(dst, 'V'), severity)
	dst = appendString(append(dst, 'C'), code)
	dst = appendString(append(dst, 'M'), protocol.Printable(message))
	return shut(append(dst, 0), mark)
}

// fatal tells the client why its session ends.
func (c *conversation) fatal(code, message string) {
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
		return appendError(dst, "FATAL", code, message)
	})
}

// deny notes why the operation at the front is refused.
func (c *conversation) deny(code, message, rule string) { c.front.op.refuse(code, message, rule) }

// refuseQuery answers a simple query that is not run. Outside of a transaction
// block, and in one that has failed already, nothing has to be undone and the
// server hears nothing. Inside one the client will believe that the
// transaction failed, so it is made to fail.
func (c *conversation) refuseQuery(o *op) {
	if c.status == 'T' {
		c.sendOwnQuery(provocation, debt{purpose: forError, op: o})
		return
	}
	c.write(protocol.ClientLeg, o.refusal, o)
	c.sendReady()
	c.settle(o)
}

// refuseExecute answers an Execute that is not run. A message that must fail
// takes its place: the server then skips to Sync, undoes the transaction and
// reports its state, all as the client expects; only the error's words are
// ours. The message is a Parse with a name, so that the client's unnamed
// statement stays.
func (c *conversation) refuseExecute(o *op) {
	c.provoke(debt{kind: oweParse, own: true, purpose: forError, op: o})
}

// refuseMessage answers a message that belongs to no operation.
func (c *conversation) refuseMessage(code, message string) {
	o := new(op) // never asked about: it only carries the words
	o.refusal = appendError(nil, "ERROR", code, message)
	c.provoke(debt{kind: oweParse, own: true, purpose: forError, op: o})
}

// provocation is no SQL in any version of PostgreSQL.
const provocation = "sluice refused this statement"

func (c *conversation) provoke(d debt) {
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst, mark := open(dst, msgParse)
		dst = appendString(appendString(dst, ownName), provocation)
		return shut(append(dst, 0, 0), mark)
	})
	c.queue.push(d)
	c.skip = true
}

// Waiting implements protocol.Conversation: a NOTICE at once, and then every
// few seconds.
func (c *conversation) Waiting(why protocol.Waiting, to []protocol.Action) []protocol.Action {
	c.begin(protocol.ClientLeg, to)
	o := c.front.op
	if c.phase != ready || o == nil || !o.reminder.Due(why.Elapsed, noticeEvery) {
		return c.out
	}
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte { return appendNotice(dst, why.String()) })
	return c.out
}

// tellApproval says who released what the client waited for, or would have
// waited for. A refusal says it itself.
func (c *conversation) tellApproval(d protocol.Decision) {
	text := d.Release()
	if text == "" {
		return
	}
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte { return appendNotice(dst, text) })
}
