package mysql

import (
	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// front is the client's message that is first in line and not yet forwarded:
// it stays in the buffer, and is fed again after every step of its decision.
type front struct {
	op       *op
	answered bool
	answer   protocol.Decision
	err      error
	reads    int // how often relations were looked up for it
}

// op is an operation and the memory of what it says.
type op struct {
	protocol.Pending
	analysis *mysqltext.Analysis // nil: it was not understood
	reach    reach               // what masks make of it
	sql      operation.SQL
	params   []operation.Param
	text     []byte
	values   []byte
	bytes    []byte // what is sent in the place of the client's own bytes
	raw      bool   // in mode observe: its command is recorded as it came
	at       int    // of its results, the one that is being answered
}

// end sets how the operation ended, keeping what was counted.
func (o *op) end(outcome protocol.Outcome) {
	outcome.Rows, outcome.Masked = o.Outcome.Rows, o.Outcome.Masked
	if outcome.Tag == "" {
		outcome.Tag = o.Outcome.Tag
	}
	o.Outcome = outcome
}

func (c *conversation) newOp(kind operation.Kind) *op {
	o := new(op)
	o.Operation.Kind = kind
	o.Operation.Context = c.context()
	return o
}

// ask begins the decision of the message at the front.
func (c *conversation) ask(o *op) {
	c.front.op = o
	c.act(protocol.Action{Kind: protocol.Ask, Op: &o.Pending})
}

// settle reports the end of an operation.
func (c *conversation) settle(o *op) {
	c.act(protocol.Action{Kind: protocol.Done, Op: &o.Pending})
}
