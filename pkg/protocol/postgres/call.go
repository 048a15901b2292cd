package postgres

import (
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// clientCall decides a call by function OID. Nothing is known of what the
// function does.
func (c *conversation) clientCall(s *stream, frame []byte) {
	if !c.awaitIdle() {
		return
	}
	if c.front.op == nil {
		if c.stand(true) {
			return
		}
		o := c.newOp(operation.Call)
		o.Operation.Bytes = frame
		c.recordCall(o, frame[headerSize:])
		c.ask(o)
		return
	}
	switch c.clearance(nil, nil) {
	case wait:
		return
	case refused, over:
		o := c.front.op
		c.swallow(s, len(frame))
		c.refuseQuery(o)
	case cleared:
		o := c.front.op
		c.pass(s, len(frame), nil)
		c.queue.push(debt{kind: oweCall, op: o})
		c.forwarded(o, nil)
	}
	c.front = front{}
}

// answerCall relays the result of a call by function OID.
func (c *conversation) answerCall(s *stream, frame []byte, head *debt) bool {
	if head.kind != oweCall {
		return false
	}
	if !c.detects() || !c.quotes(frame) {
		c.pass(s, len(frame), head.op)
		return true
	}
	c.swallow(s, len(frame))
	head.op.Outcome.Masked++
	c.synthesise(protocol.ClientLeg, head.op, func(dst []byte) []byte {
		dst, mark := open(dst, msgFunctionCallResponse)
		return shut(append(dst, 0xff, 0xff, 0xff, 0xff), mark) // null
	})
	return true
}
