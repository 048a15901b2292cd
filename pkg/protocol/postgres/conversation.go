package postgres

import (
	"errors"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// phase is where a session is. A message that its phase does not name is a
// violation.
//
//	phase        from the client            from the server
//	opening      a start-up packet, or TLS  –
//	choosing     – (the resource is found)  –
//	deciding     – (Connect is asked)       –
//	securing     –                          one byte: S or N
//	loggingIn    –                          R, S, K, N, E, v
//	settling     –                          S, K, N, E, Z
//	ready        client.go                  server.go
//	cancelling   –                          nothing, then the end
//	leaving      anything, dropped          as ready
//	blind        – (nobody reads on)         –                     only in mode observe
//	replicating  anything, relayed          anything, relayed: where a rule allows it
type phase int

const (
	opening phase = iota
	choosing
	deciding
	securing
	loggingIn
	settling
	ready
	cancelling
	leaving
	blind
	replicating
)

// conversation is one session as a state machine. Its methods run one at a
// time; what they want done they append to out.
type conversation struct {
	plugin *Postgres
	conn   *protocol.Conn
	phase  phase

	start  startup // what the client asked for at start-up
	login  login   // the server leg's authentication
	key    key     // this session's cancel key
	target *key    // the key that a cancel request names, if it is known

	front     front                        // the client's message that is being decided
	queue     queue                        // what the server still owes
	skip      bool                         // the client's messages are dropped until Sync
	opened    bool                         // the client was told that it may speak
	paused    bool                         // the client waits for an answer of the server
	unsettled bool                         // what runs before the next Sync may change how text is read
	shaken    bool                         // what ran in this transaction may have changed it
	defines   bool                         // what runs may change relations
	installs  bool                         // what runs may change functions and operators
	moves     bool                         // what ran changed a relation with masked columns
	dirty     bool                         // the transaction touched a masked relation
	voided    []undo                       // memory of void
	counting  *op                          // whose changed rows the server is still to tell
	tally     tally                        // what it counted of them
	copyIn    bool                         // the server reads COPY data
	copyOut   copyOut                      // what it sends
	lostSync  bool                         // a Sync came during COPY, where the server ignores it
	status    byte                         // of the last ReadyForQuery: I, T or E
	prepared  prepared                     // statements and portals
	cursors   map[string]*sqltext.Analysis // what DECLARE declared in this transaction
	declared  map[string]uint64            // targets.moves when a cursor was declared, which may outlive it
	settings  settings                     // what the server reported that changes meaning
	catalog   catalog                      // what is masked
	standing  standing                     // as whom statements run, and where names are looked for
	pondering bool                         // the pump was told that the message at the front takes long
	piped     bool                         // a pipeline was begun that no Sync has ended
	begun     bool                         // it has run something, in a transaction that Sync ends
	replica   *op                          // of a session that replicates
	layout    layout                       // of the rows of the simple query under way
	lastTag   string                       // of the last command
	spare     []*op                        // memory of ended operations, to be used again
	retired   []*op                        // ended in this call: spare from the next on

	legs    [2]stream // by the leg that is read
	out     []protocol.Action
	halted  bool // this call may consume no more
	caller  protocol.Leg
	scratch [2][]byte // synthesised bytes, by the caller's leg
}

func newConversation(p *Postgres, conn *protocol.Conn) *conversation {
	c := &conversation{
		plugin:   p,
		status:   'I',
		prepared: newPrepared(p.options),
		settings: settings{utf8: true, conforming: true},
	}
	c.serve(conn)
	return c
}

// serve makes conn what is served.
func (c *conversation) serve(conn *protocol.Conn) {
	c.conn = conn
	c.catalog = newCatalog(c.plugin.targets, conn)
	c.catalog.understand = func(definition string) *sqltext.Analysis { return c.calling(c.analyse([]byte(definition))) }
	c.standing = standing{role: conn.Credential.User}
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
	if len(c.spare) < 16 {
		c.spare = append(c.spare, c.retired...)
	}
	clear(c.retired)
	c.retired = c.retired[:0]
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
		case opening:
			if !c.clientStartup(s) {
				return
			}
		case ready:
			if !c.clientFrame(s) {
				return
			}
		case replicating:
			c.pass(s, len(s.src)-s.pos, c.replica)
			return
		case blind:
			return
		case leaving, cancelling:
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
		case securing:
			c.serverTLSAnswer(s)
			return
		case loggingIn, settling:
			if !c.loginFrame(s) {
				return
			}
		case ready, leaving:
			if !c.serverFrame(s) {
				return
			}
		case replicating:
			c.pass(s, len(s.src)-s.pos, c.replica)
			return
		case blind:
			return
		default:
			s.skip(len(s.src) - s.pos)
			return
		}
	}
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
		c.serverOpened()
	case leg == protocol.ClientLeg && change == protocol.Secured: // its start-up packet comes next
	case leg == protocol.ClientLeg && change == protocol.Broken:
		c.act(protocol.Action{Kind: protocol.End}) // the client cannot read what would be said
	case change == protocol.Secured:
		c.greetServer()
	case change == protocol.Broken:
		c.refuseLogin("08006", "the server cannot be reached as its resource demands")
	case leg == protocol.ClientLeg && c.phase >= ready:
		c.act(protocol.Action{Kind: protocol.CloseWrite, Leg: protocol.ServerLeg})
	default:
		c.closed()
	}
	return c.out
}

// stopped tells the client that a person ended its session, unless it is in the
// middle of a message or still speaks of encryption.
func (c *conversation) stopped() {
	server := &c.legs[protocol.ServerLeg]
	if c.phase == ready && !c.conn.Observe && (server.rest == 0 || server.drop) {
		c.fatal("57P01", "sluice: "+protocol.Printable(c.conn.Stopped()))
	}
	for c.queue.len() > 0 {
		c.finish(c.queue.pop(), protocol.Outcome{Status: protocol.Abandoned})
	}
	c.abandonFront()
	c.act(protocol.Action{Kind: protocol.End})
}

// closed ends a session whose server leg closed, or whose client left before
// it had one.
func (c *conversation) closed() {
	if c.phase == cancelling {
		c.endLogin(protocol.Outcome{Status: protocol.OK})
		return
	}
	if c.phase == loggingIn || c.phase == settling || c.phase == securing {
		c.refuseLogin("08006", "the server closed the connection during login")
		return
	}
	for c.queue.len() > 0 {
		c.finish(c.queue.pop(), protocol.Outcome{Status: protocol.Abandoned})
	}
	c.abandonFront()
	c.endReplication()
	c.act(protocol.Action{Kind: protocol.End})
}

// act appends one action. The run that is being relayed goes first.
func (c *conversation) act(a protocol.Action) {
	c.cut()
	switch a.Kind {
	case protocol.Ask, protocol.Choose, protocol.Dial, protocol.StartTLS, protocol.Slow, protocol.End:
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

// violate ends the session because a peer broke the protocol.
func (c *conversation) violate(leg protocol.Leg, cause error) {
	if c.conn.Observe {
		c.goBlind()
		return
	}
	if leg == protocol.ClientLeg {
		c.fatal("08P01", "sluice: "+cause.Error())
	} else {
		c.fatal("08006", "sluice: the server broke the protocol")
	}
	c.act(protocol.Action{Kind: protocol.End, Err: &protocol.Violation{Leg: leg, Reason: cause.Error()}})
}

var errTooLarge = errors.New("a message is larger than the limit")

// stream is one direction of bytes. Frames that nobody changes are relayed as
// one run as long as they belong to the same operation.
type stream struct {
	src  []byte // given to this call
	pos  int    // consumed of it
	from int    // where the run begins
	op   *op    // what the run belongs to
	rest int    // bytes that are still to come of a frame that is streamed
	drop bool   // that frame is not relayed
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

// swallow consumes n bytes and relays nothing of them, unless the session is
// only observed.
func (c *conversation) swallow(s *stream, n int) {
	if c.conn.Observe {
		c.pass(s, n, nil)
		return
	}
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

// streamed relays or drops a frame that need not be seen whole, in pieces as
// they come. It reports whether the frame is over.
func (c *conversation) streamed(s *stream, size int, op *op, drop bool) bool {
	if s.rest == 0 {
		s.rest, s.drop = size, drop
	}
	n := min(s.rest, len(s.src)-s.pos)
	if s.drop {
		c.swallow(s, n)
	} else {
		c.pass(s, n, op)
	}
	s.rest -= n
	return s.rest == 0
}
