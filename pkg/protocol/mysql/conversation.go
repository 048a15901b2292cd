package mysql

import (
	"errors"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// phase is where a session is. A message that its phase does not name is a
// violation.
//
//	phase       from the client            from the server
//	greeting    –                          –
//	opening     its answer, or TLS first   –
//	switching   a proof, for the plug-in   –
//	            that it asked for
//	deciding    – (Connect is asked)       –
//	calling     –                          its greeting
//	securing    – (TLS of the server leg)  –
//	loggingIn   –                          OK, ERR, a switch, more data
//	settling    –                          answers to questions of ours
//	ready       client.go                  server.go
//	leaving     anything, dropped          as ready
type phase int

const (
	greeted phase = iota // before anything was said
	opening
	switching
	deciding
	calling
	securing
	loggingIn
	settling
	ready
	leaving
)

// conversation is one session as a state machine. Its methods run one at a
// time; what they want done they append to out.
type conversation struct {
	plugin *MySQL
	conn   *protocol.Conn
	phase  phase
	known  profile // what the client was told of the server
	thread thread

	scramble []byte // that the client was given
	start    answer // the client's answer, without its proof
	sequence byte   // of the last packet of the login on the client leg
	login    login  // the server leg's authentication

	front      front      // the client's message that is being decided
	reply      reply      // what the server is sending
	status     uint16     // the server's last
	standing   standing   // how texts are read
	statements statements // what was prepared
	masking    masking    // what is masked, and what is known of relations
	paused     bool       // the client waits for an answer of the server
	pondering  bool       // the pump was told that the message at the front takes long

	legs    [2]stream // by the leg that is read
	out     []protocol.Action
	halted  bool // this call may consume no more
	caller  protocol.Leg
	scratch [2][]byte // synthesised bytes, by the caller's leg
}

func newConversation(m *MySQL, conn *protocol.Conn, known profile) *conversation {
	c := &conversation{plugin: m, conn: conn, known: known, scramble: newScramble()}
	c.standing.mariaDB, c.standing.version = known.mariaDB(), known.number()
	c.statements.byID = map[uint32]*statement{}
	c.masking = newMasking(m, conn)
	c.thread = thread{
		server: conn.Session.Destination, resource: conn.Session.Resource,
		workload: conn.Session.Workload.Kernel.NetnsCookie, interrupt: func() bool { return false },
	}
	return c
}

// maxScratch is how much synthesised memory a session keeps between calls.
const maxScratch = 1 << 20

// begin prepares one call on behalf of a leg.
func (c *conversation) begin(caller protocol.Leg, to []protocol.Action) {
	c.caller, c.out, c.halted = caller, to, false
	c.scratch[caller] = c.scratch[caller][:0]
	if cap(c.scratch[caller]) > maxScratch {
		c.scratch[caller] = nil
	}
}

// Feed implements protocol.Conversation.
func (c *conversation) Feed(from protocol.Leg, unread []byte, to []protocol.Action) (int, []protocol.Action) {
	c.begin(from, to)
	s := &c.legs[from]
	s.src, s.pos, s.from = unread, 0, 0
	if from == protocol.ClientLeg {
		c.fromClient(s)
	} else {
		c.fromServer(s)
	}
	c.cut()
	s.src = nil
	return s.pos, c.out
}

func (c *conversation) fromClient(s *stream) {
	for !c.halted {
		switch c.phase {
		case greeted:
			c.greetClient(s)
		case opening, switching:
			if !c.clientLogin(s) {
				return
			}
		case ready:
			if !c.clientCommand(s) {
				return
			}
		case leaving:
			s.skip(len(s.src) - s.pos)
			return
		default:
			return // nothing of the client is looked at before the login is over
		}
	}
}

func (c *conversation) fromServer(s *stream) {
	for !c.halted {
		switch c.phase {
		case calling, loggingIn:
			if !c.serverLogin(s) {
				return
			}
		case settling, ready, leaving:
			if !c.serverPacket(s) {
				return
			}
		default:
			if len(s.src) > s.pos {
				c.violate(protocol.ServerLeg, errMalformed)
			}
			return
		}
	}
}

// greetClient speaks first. Who has spoken before is no client of MySQL's.
func (c *conversation) greetClient(s *stream) {
	if len(s.src) > s.pos {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	c.phase = opening
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
		return c.known.greet(dst, c.thread.given, c.scramble, c.conn.ClientTLS != nil)
	})
}

// Changed implements protocol.Conversation.
func (c *conversation) Changed(leg protocol.Leg, change protocol.Change, to []protocol.Action) []protocol.Action {
	caller := leg
	if change == protocol.Opened || (change == protocol.Broken && c.phase == deciding) {
		caller = protocol.ClientLeg // it asked for the Dial
	}
	c.begin(caller, to)
	switch {
	case change == protocol.Stopped:
		c.stopped()
	case change == protocol.Opened:
		c.phase = calling
		c.pause() // until the login is over
	case leg == protocol.ClientLeg && change == protocol.Secured: // its answer comes next
	case leg == protocol.ClientLeg && change == protocol.Broken:
		c.act(protocol.Action{Kind: protocol.End}) // the client cannot read what would be said
	case change == protocol.Secured:
		c.phase = loggingIn
		c.login.tls = true
		c.sendLogin()
	case change == protocol.Broken:
		c.refuseLogin(codeUnreachable, "the server cannot be reached as its resource demands")
	case leg == protocol.ClientLeg && c.phase >= ready:
		c.act(protocol.Action{Kind: protocol.CloseWrite, Leg: protocol.ServerLeg})
	default:
		c.closed()
	}
	return c.out
}

// stopped tells the client that a person ended its session, where it waits for
// an answer of which nothing has come.
func (c *conversation) stopped() {
	if c.phase == ready && c.legs[protocol.ServerLeg].rest == 0 && (c.reply.kind == replyNone || c.reply.first()) {
		c.sendError(1, errorOf(codeStopped, "sluice: "+protocol.Printable(c.conn.Stopped())), nil)
	}
	c.abandon()
	c.act(protocol.Action{Kind: protocol.End})
}

// closed ends a session whose server leg closed, or whose client left before
// it had one.
func (c *conversation) closed() {
	if c.phase >= calling && c.phase <= settling && c.caller == protocol.ServerLeg {
		c.refuseLogin(codeUnreachable, "the server closed the connection during login")
		return
	}
	c.abandon()
	c.act(protocol.Action{Kind: protocol.End})
}

// abandon ends what was asked about and has no answer. While the guard still
// decides, that is left to the pump.
func (c *conversation) abandon() {
	if o := c.reply.op; o != nil {
		c.reply.op = nil
		o.end(protocol.Outcome{Status: protocol.Abandoned})
		c.settle(o)
	}
	if o := c.front.op; o != nil && c.front.answered {
		o.end(protocol.Outcome{Status: protocol.Abandoned})
		c.settle(o)
		c.front = front{}
	}
}

// Decided implements protocol.Conversation. The message that was asked about
// is fed again and finds its answer.
func (c *conversation) Decided(answer protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	c.begin(protocol.ClientLeg, to)
	c.front.answered, c.front.answer, c.front.err = true, answer, err
	switch {
	case errors.Is(err, protocol.ErrClientGone):
		c.abandon()
		c.act(protocol.Action{Kind: protocol.End})
	case c.phase == deciding && answer.Effect == protocol.Allow:
		c.act(protocol.Action{Kind: protocol.Dial})
	case c.phase == deciding:
		c.sendError(c.sequence+1, errorOf(codeLoginRefused, refusal(answer, err)), nil)
		c.endLogin(protocol.Outcome{Status: protocol.Refused, Code: codeLoginRefused.text(), Rule: answer.Rule})
	}
	return c.out
}

// Waiting implements protocol.Conversation. MySQL's protocol has nothing that
// a client could be told before its answer.
func (c *conversation) Waiting(_ protocol.Waiting, to []protocol.Action) []protocol.Action {
	c.begin(protocol.ClientLeg, to)
	return c.out
}

// pause waits until the server has answered. The client's message is fed again
// then.
func (c *conversation) pause() {
	if c.paused {
		return
	}
	c.paused = true
	c.act(protocol.Action{Kind: protocol.Pause, Leg: protocol.ClientLeg})
}

// resume lets the client speak again.
func (c *conversation) resume() {
	if !c.paused {
		return
	}
	c.paused = false
	c.act(protocol.Action{Kind: protocol.Resume, Leg: protocol.ClientLeg})
}
