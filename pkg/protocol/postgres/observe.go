package postgres

import (
	"cmp"
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// observer is a session in mode observe: it changes no byte and refuses
// nothing. The client logs in by itself. Statements are asked about, so that
// they are recorded, and forwarded whatever the answer. Once the session is
// encrypted, or says what cannot be parsed, what was open is abandoned, and the
// rest is relayed without being read.
type observer struct {
	*conversation
	stage  observing
	dialed bool
	why    string           // the rest is not read
	rest   *protocol.Unread // nil while the session is read
}

// observing is how far an observed session is before it is ready.
type observing int

const (
	greeting    observing = iota // a start-up packet is to come
	sending                      // it was asked about and is forwarded next
	answering                    // the server answers an encryption request with one byte
	identifying                  // the client logs in
	conversing                   // the conversation takes over
)

// Feed implements protocol.Conversation.
func (o *observer) Feed(from protocol.Leg, unread []byte, to []protocol.Action) (int, []protocol.Action) {
	if o.rest != nil {
		return o.rest.Feed(from, unread, to)
	}
	if o.stage == conversing {
		n, to := o.conversation.Feed(from, unread, to)
		return n, o.handOver(to)
	}
	o.begin(from, to)
	s := &o.legs[from]
	s.src, s.pos, s.from = unread, 0, 0
	if from == protocol.ClientLeg {
		o.client(s)
	} else {
		o.server(s)
	}
	o.cut()
	s.src = nil
	return s.pos, o.handOver(o.out)
}

// handOver has what comes next relayed unread, once nobody can read on.
func (o *observer) handOver(to []protocol.Action) []protocol.Action {
	if o.phase != blind || o.rest != nil {
		return to
	}
	var look protocol.Look
	if o.why == protocol.Encrypted {
		look = protocol.LookTLS
	}
	o.rest = protocol.NewUnread(cmp.Or(o.why, "not understood"), o.dialed, look)
	return append(to, protocol.Action{Kind: protocol.Pause, Leg: protocol.ClientLeg}, protocol.Action{Kind: protocol.Resume, Leg: protocol.ClientLeg})
}

func (o *observer) client(s *stream) {
	if o.stage == identifying {
		o.pass(s, len(s.src), nil)
		return
	}
	b := s.src
	if len(b) < 8 {
		return
	}
	size, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if size < 8 || size > maxStartup {
		o.goBlind()
		return
	}
	if len(b) < int(size) {
		return
	}
	switch o.stage {
	case greeting:
		o.greet(code, b[8:size])
	case sending:
		o.pass(s, int(size), nil)
		o.send(code)
	}
}

// greet asks about a start-up packet.
func (o *observer) greet(code uint32, body []byte) {
	kind := operation.Connect
	if code == cancelRequest {
		kind = operation.Cancel
	}
	op := o.newOp(kind)
	if code>>16 == 3 {
		o.start = startup{}
		_, ok := o.start.parse(body)
		op.Operation.Parsed = ok
		op.Operation.Context.Role, op.Operation.Context.Database = o.start.user, o.start.database
		op.text = append(append(append(append(op.text, "user="...), o.start.user...), " database="...), o.start.database...)
		op.Operation.Text = op.text
	}
	op.Operation.ReadOnly = true
	o.ask(op)
}

// send decides what follows a start-up packet that was forwarded.
func (o *observer) send(code uint32) {
	switch {
	case code == sslRequest || code == gssRequest:
		o.stage = answering
		o.pause()
	case code>>16 == 3:
		o.stage = identifying
	case code == cancelRequest:
		o.stage, o.phase = conversing, cancelling
	default:
		o.goBlind()
	}
}

func (o *observer) server(s *stream) {
	if o.stage == answering && len(s.src) > 0 {
		accepted := s.src[0] != 'N'
		o.pass(s, 1, nil)
		if accepted {
			o.why = protocol.Encrypted
			o.goBlind()
		} else {
			o.stage = greeting
			o.endGreeting(protocol.Outcome{Status: protocol.OK})
		}
		o.resume(true)
	}
	for o.stage == identifying && o.identify(s) {
	}
}

// identify relays one message of the login.
func (o *observer) identify(s *stream) bool {
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	kind, size, err := header(b)
	if err != nil || size > maxLoginFrame {
		o.goBlind()
		return false
	}
	if len(b) < size {
		return false
	}
	frame := b[:size]
	o.settings.follow(frame)
	o.pass(s, size, nil)
	switch {
	case kind == msgErrorResponse:
		o.endGreeting(protocol.Outcome{Status: protocol.Failed, Code: errorCode(frame)})
	case kind == msgReadyForQuery && size == headerSize+1:
		o.status = frame[headerSize]
		o.endGreeting(protocol.Outcome{Status: protocol.OK})
		o.stage, o.phase = conversing, ready
	}
	return true
}

func (o *observer) endGreeting(outcome protocol.Outcome) {
	if op := o.front.op; op != nil {
		o.front = front{}
		op.end(outcome)
		o.settle(op)
	}
}

// goBlind gives up on understanding the session, and ends the operations whose
// answers will not be recognised.
func (c *conversation) goBlind() {
	c.phase = blind
	c.abandonFront()
	for c.queue.len() > 0 {
		c.finish(c.queue.pop(), protocol.Outcome{Status: protocol.Abandoned})
	}
}

// Decided implements protocol.Conversation: every answer lets it go on.
func (o *observer) Decided(answer protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	if o.rest != nil && o.front.op == nil {
		return o.rest.Decided(answer, err, to)
	}
	o.begin(protocol.ClientLeg, to)
	o.front.answered = true
	if o.rest != nil {
		o.goBlind() // while it was decided
		return o.out
	}
	if o.stage != greeting {
		return o.out
	}
	o.stage = sending
	if !o.dialed {
		o.dialed = true
		o.act(protocol.Action{Kind: protocol.Dial})
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
	switch {
	case change == protocol.Opened:
		return to
	case change == protocol.Closed && leg == protocol.ClientLeg && o.dialed:
		o.begin(leg, to)
		o.act(protocol.Action{Kind: protocol.CloseWrite, Leg: protocol.ServerLeg})
		return o.out
	}
	o.begin(leg, to)
	o.goBlind()
	o.act(protocol.Action{Kind: protocol.End})
	return o.out
}
