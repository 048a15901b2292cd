package web

import "github.com/sluicegate/sluice/pkg/protocol"

// relayUnread gives up on reading the session. What comes next is relayed by an
// Unread, from the first byte that was not consumed on.
func (o *observer) relayUnread(why string) {
	o.abandonAll()
	var look protocol.Look
	if why == protocol.Encrypted {
		look = protocol.LookTLS
	}
	o.rest = protocol.NewUnread(why, o.dialled, look)
	o.out = o.rest.TakeOver(o.closed, o.out)
}

// abandonAll ends the requests whose answers nobody will read. One that is being
// decided ends when it is.
func (o *observer) abandonAll() {
	for _, x := range o.owed {
		o.abandon(x)
	}
	o.owed, o.body = nil, [2]body{}
	if o.decided {
		o.abandon(o.asked)
		o.asked, o.decided = nil, false
	}
}

func (o *observer) abandon(x *exchange) {
	x.Outcome.Status = protocol.Abandoned
	o.done(x)
}

// Decided implements protocol.Conversation: every answer lets it go on.
func (o *observer) Decided(answer protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	if o.rest != nil && o.asked == nil {
		return o.rest.Decided(answer, err, to)
	}
	o.begin(protocol.ClientLeg, to)
	o.decided = true
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
	if last := &o.body[protocol.ServerLeg]; change == protocol.Closed && leg == protocol.ServerLeg && last.toEnd() {
		o.answered()
	}
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
