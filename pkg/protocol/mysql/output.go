package mysql

import (
	"errors"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// act appends one action. The run that is being relayed goes first.
func (c *conversation) act(a protocol.Action) {
	c.cut()
	switch a.Kind {
	case protocol.Ask, protocol.Dial, protocol.StartTLS, protocol.Slow, protocol.End:
		c.halted = true
	case protocol.Pause:
		c.halted = c.halted || a.Leg == c.caller
	}
	c.out = append(c.out, a)
}

// write sends bytes that are not the peer's own; op, when it is not nil, is the
// operation that they answer.
func (c *conversation) write(leg protocol.Leg, b []byte, op *op) {
	a := protocol.Action{Kind: protocol.Write, Leg: leg, Bytes: b}
	if op != nil {
		a.Op = &op.Pending
	}
	c.act(a)
}

// synthesise sends bytes made by fill, which appends to what it is given.
func (c *conversation) synthesise(leg protocol.Leg, op *op, fill func(dst []byte) []byte) {
	c.cut()
	buf := c.scratch[c.caller]
	mark := len(buf)
	buf = fill(buf)
	c.scratch[c.caller] = buf
	c.write(leg, buf[mark:], op)
}

// sendError sends an ERR packet to the client.
func (c *conversation) sendError(sequence byte, e failure, op *op) {
	c.synthesise(protocol.ClientLeg, op, func(dst []byte) []byte { return e.append(dst, sequence) })
}

// violate ends the session because a peer broke the protocol.
func (c *conversation) violate(leg protocol.Leg, cause error) {
	switch {
	case c.phase < opening: // nobody has said anything
	case leg == protocol.ServerLeg:
		if c.reply.kind == replyNone || c.reply.first() {
			c.sendError(c.sequence+1, errorOf(codeUnreachable, "sluice: the server broke the protocol"), nil)
		}
	case errors.Is(cause, errTooLarge):
		c.sendError(1, errorOf(codeTooLarge, "sluice: "+cause.Error()), nil)
	default:
		c.sendError(c.sequence+1, errorOf(codeMalformed, "sluice: "+cause.Error()), nil)
	}
	c.act(protocol.Action{Kind: protocol.End, Err: &protocol.Violation{Leg: leg, Reason: cause.Error()}})
}

var errTooLarge = errors.New("a message is larger than the limit")

// stream is one direction of bytes. Packets that nobody changes are relayed as
// one run as long as they belong to the same operation.
type stream struct {
	src  []byte // given to this call
	pos  int    // consumed of it
	from int    // where the run begins
	op   *op    // what the run belongs to
	rest int    // bytes that are still to come of a packet that is streamed
	goes bool   // the next packet continues the last
}

// skip consumes n bytes without relaying them; the run must be cut first.
func (s *stream) skip(n int) {
	s.pos += n
	s.from = s.pos
}

// pass relays n bytes unchanged.
func (c *conversation) pass(s *stream, n int, op *op) {
	if s.op != op || s.from == s.pos {
		c.cut()
		s.op = op
	}
	s.pos += n
}

// swallow consumes n bytes and relays nothing of them.
func (c *conversation) swallow(s *stream, n int) {
	c.cut()
	s.skip(n)
}

// cut sends the run of the leg that this call is about.
func (c *conversation) cut() {
	s := &c.legs[c.caller]
	if s.from == s.pos {
		return
	}
	a := protocol.Action{Kind: protocol.Write, Leg: 1 - c.caller, Bytes: s.src[s.from:s.pos]}
	if s.op != nil {
		a.Op = &s.op.Pending
	}
	s.from = s.pos
	c.out = append(c.out, a)
}

// streamed relays a packet that need not be seen whole, in pieces as they come.
// It reports whether the packet is over.
func (c *conversation) streamed(s *stream, size int, op *op) bool {
	if s.rest == 0 {
		s.rest = size
		s.goes = size == headerSize+maxPacket
	}
	n := min(s.rest, len(s.src)-s.pos)
	c.pass(s, n, op)
	s.rest -= n
	return s.rest == 0
}
