package mysql

import (
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// observer is a session in mode observe: it changes no byte, refuses nothing
// and asks the server nothing. The client logs in by itself, by whatever
// plug-in. Commands are asked about, so that they are recorded, and forwarded
// whatever the answer, also before the one in front of them is answered. Once
// the job encrypts or compresses the session, or either side says what is not
// understood, what was open is abandoned, and the rest is relayed without being
// read.
type observer struct {
	*conversation
	stage   observing
	dialled bool
	rest    *protocol.Unread // nil while the session is read
	look    protocol.Look    // at the rest
	left    [2]int           // bytes that a leg has sent of a message that is not whole
	closed  [2]bool          // the leg sends no more
	can     uint32           // what both sides agreed on
	offered uint32           // by the server
	changes *op              // the COM_CHANGE_USER that is being proven
	owed    []*reply         // answers, in the order of their commands
	last    *statement       // that was prepared last
}

// observing is how far an observed session is.
type observing int

const (
	hearing   observing = iota // the server greets
	answering                  // the client answers
	proving                    // both, until the client is who it says
	conversing
)

// Why the rest of a session is not read, beside protocol.Encrypted.
const (
	compressed    = "compressed by the job"
	notUnderstood = "not understood"
	tooLong       = "a message of 16 MiB or more"
	outOfTurn     = "messages that came out of turn"
	cutShort      = "a message that was not ended"
)

// maxOwed is how many commands a client may send ahead of their answers.
const maxOwed = 1 << 10

func newObserver(m *MySQL, conn *protocol.Conn) *observer {
	return &observer{conversation: newConversation(m, conn, profile{})}
}

// Feed implements protocol.Conversation.
func (o *observer) Feed(from protocol.Leg, unread []byte, to []protocol.Action) (int, []protocol.Action) {
	if o.rest != nil {
		return o.rest.Feed(from, unread, to)
	}
	o.begin(from, to)
	s := &o.legs[from]
	s.src, s.pos, s.from = unread, 0, 0
	read := o.client
	if from == protocol.ServerLeg {
		read = o.server
	}
	for !o.halted && o.rest == nil && read(s) {
	}
	o.cut()
	s.src = nil
	o.left[from] = len(unread) - s.pos
	return s.pos, o.out
}

// client reads the next message of the client. It reports false when it needs
// more bytes.
func (o *observer) client(s *stream) bool {
	b := s.src[s.pos:]
	switch {
	case !o.dialled:
		o.dialled = true
		o.act(protocol.Action{Kind: protocol.Dial})
		return false
	case s.rest > 0:
		return o.streamed(s, 0, s.op)
	case len(b) > 0 && o.stage == hearing:
		o.relayUnread(outOfTurn) // it speaks something else
		return false
	case len(b) < headerSize:
		return false
	}
	size, sequence := header(b)
	switch o.stage {
	case answering:
		return o.answer(s, size, sequence)
	case proving:
		if sequence == 0 { // a command, ahead of the answer to the login
			o.relayUnread(outOfTurn)
			return false
		}
		return o.streamed(s, size, nil) // never recorded: it may be the password
	}
	return o.message(s, size, sequence)
}

// server reads the next packet of the server.
func (o *observer) server(s *stream) bool {
	b := s.src[s.pos:]
	if s.rest > 0 {
		return o.streamed(s, 0, s.op)
	}
	if len(b) < headerSize {
		return false
	}
	size, _ := header(b)
	if o.stage == conversing {
		return o.packet(s, size)
	}
	if size > maxLoginFrame || size == headerSize {
		o.relayUnread(notUnderstood)
		return false
	}
	if len(b) < size {
		return false
	}
	o.loginPacket(s, b[:size])
	return true
}

// loginPacket relays a packet of the server's before it is ready.
func (o *observer) loginPacket(s *stream, frame []byte) {
	payload := frame[headerSize:]
	if o.stage == hearing {
		var g greeting
		if payload[0] == 0xff { // too many connections, say
			o.pass(s, len(frame), nil)
			return
		}
		if g.parse(payload) != nil {
			o.relayUnread(notUnderstood)
			return
		}
		known := g.profile()
		o.offered, o.stage = g.can, answering
		o.standing.mariaDB, o.standing.version = known.mariaDB(), known.number()
		o.pass(s, len(frame), nil)
		return
	}
	o.pass(s, len(frame), nil)
	switch {
	case o.stage != proving:
	case payload[0] == 0xff:
		e, _ := readFailure(payload)
		o.proven(protocol.Outcome{Status: protocol.Failed, Code: e.text()})
	case payload[0] == 0:
		o.proven(protocol.Outcome{Status: protocol.OK})
	}
}

// answer reads the client's answer to the greeting. One that asks for TLS is
// the beginning of what is not read.
func (o *observer) answer(s *stream, size int, sequence byte) bool {
	b := s.src[s.pos:]
	if size == headerSize+answerHead && sequence == 1 {
		o.look = lookBehind(size)
		o.relayUnread(protocol.Encrypted)
		return false
	}
	if size > maxAnswer || sequence == 0 {
		o.relayUnread(notUnderstood)
		return false
	}
	if len(b) < size {
		return false
	}
	if o.front.op == nil {
		o.start = answer{}
		if !o.start.parse(b[headerSize:size]) {
			o.relayUnread(notUnderstood)
			return false
		}
		o.can = o.start.can & o.offered
		o.standing.role, o.standing.database = o.start.user, o.start.database
		o.standing.reading = o.readingOf(o.start.charset)
		op := o.newOp(operation.Connect)
		o.describeLogin(op, o.start.user, o.start.database)
		o.ask(op)
		return false
	}
	o.stage = proving
	o.pass(s, size, nil)
	return true
}

// lookBehind is protocol.LookTLS behind the client's wish for TLS.
func lookBehind(size int) protocol.Look {
	return func(from protocol.Leg, head []byte) (string, bool) {
		if from == protocol.ClientLeg && len(head) < size {
			return "", true
		}
		if from == protocol.ClientLeg {
			head = head[size:]
		}
		return protocol.LookTLS(from, head)
	}
}

// describeLogin says who logs in where, and nothing of how.
func (o *observer) describeLogin(op *op, user, database string) {
	op.text = append(append(append(append(op.text, "user="...), user...), " database="...), database...)
	op.Operation.Text = op.text
	op.Operation.Context.Role, op.Operation.Context.Database = user, database
	op.Operation.Parsed, op.Operation.ReadOnly = true, true
}

// proven ends a login, or a COM_CHANGE_USER.
func (o *observer) proven(outcome protocol.Outcome) {
	op := o.front.op
	o.front = front{}
	if o.changes != nil {
		op, o.changes = o.changes, nil
	}
	op.end(outcome)
	o.settle(op)
	o.stage, o.phase = conversing, ready
	if outcome.Status == protocol.OK && o.can&(canCompress|canZstd) != 0 {
		o.relayUnread(compressed)
	}
}

// Capabilities that only what is observed may have (mysql_com.h).
const (
	canCompress   = 1 << 5
	canNoEOF      = 1 << 24 // an OK packet in the place of an EOF
	canNoMetadata = 1 << 25 // what is known of columns may be left out
	canZstd       = 1 << 26
	canQueryAttrs = 1 << 27 // parameters may stand before the text of a query
)
