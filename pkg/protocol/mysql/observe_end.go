package mysql

import (
	"github.com/sluicegate/sluice/pkg/protocol"
)

// relayUnread gives up on reading the session. What comes next is relayed by an
// Unread, from the first byte that was not consumed on.
func (o *observer) relayUnread(why string) {
	if o.rest != nil {
		return
	}
	o.abandonAll()
	o.rest = protocol.NewUnread(why, o.dialled, o.look)
	o.out = o.rest.TakeOver(o.closed, o.out)
}

// abandonAll ends the operations whose answers nobody will recognise. One that
// is being decided ends when it is.
func (o *observer) abandonAll() {
	for _, r := range o.owed {
		o.abandonOp(r.op)
	}
	o.owed = nil
	o.abandonOp(o.changes)
	o.changes = nil
	if o.front.answered {
		o.abandonOp(o.front.op)
		o.front = front{}
	}
}

func (o *observer) abandonOp(op *op) {
	if op == nil {
		return
	}
	op.end(protocol.Outcome{Status: protocol.Abandoned})
	o.settle(op)
}

// Decided implements protocol.Conversation: every answer lets it go on.
func (o *observer) Decided(answer protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	if o.rest != nil && o.front.op == nil {
		return o.rest.Decided(answer, err, to)
	}
	o.begin(protocol.ClientLeg, to)
	o.front.answered = true
	if o.rest != nil { // while it was decided
		o.abandonAll()
	}
	return o.out
}

// Waiting implements protocol.Conversation: an observed client is told nothing.
func (o *observer) Waiting(_ protocol.Waiting, to []protocol.Action) []protocol.Action { return to }

// Changed implements protocol.Conversation.
func (o *observer) Changed(leg protocol.Leg, change protocol.Change, to []protocol.Action) []protocol.Action {
	if o.rest != nil {
		return o.rest.Changed(leg, change, to)
	}
	if change == protocol.Opened {
		return to
	}
	if change == protocol.Broken {
		leg = protocol.ClientLeg // it asked for the Dial
	}
	o.begin(leg, to)
	o.closed[leg] = true
	switch {
	case change == protocol.Closed && o.left[leg] > 0:
		o.relayUnread(cutShort)
	case change == protocol.Closed && !o.closed[1-leg]:
		o.act(protocol.Action{Kind: protocol.CloseWrite, Leg: 1 - leg})
	default:
		o.abandonAll()
		o.act(protocol.Action{Kind: protocol.End})
	}
	return o.out
}
