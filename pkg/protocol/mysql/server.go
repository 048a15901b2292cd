package mysql

import (
	"strconv"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Bits of the server's status (mysql_com.h).
const (
	statusInTransaction = 1 << 0
	statusAutocommit    = 1 << 1
	statusMoreResults   = 1 << 3
	statusCursor        = 1 << 6
)

// replyKind says what the server owes.
type replyKind uint8

const (
	replyNone    replyKind = iota
	replyPlain             // OK, ERR or EOF
	replyQuery             // any number of results: OK, ERR, or columns and rows
	replyExecute           // likewise, with rows in binary
	replyFetch             // rows in binary
	replyPrepare           // a statement's id, parameters and columns
	replyFields            // columns
	replyText              // one packet of text
)

// stage is how far a reply has come.
type stage uint8

const (
	stageFirst   stage = iota
	stageColumns       // definitions: left of them, then an EOF
	stageRows
	stageParams // of a prepared statement: likewise
)

// reply is the answer that the server owes, or sends.
type reply struct {
	kind      replyKind
	op        *op
	own       *question  // we asked, the client sees nothing
	statement *statement // that is prepared, or run

	stage   stage
	left    int // definitions that are still to come; then an EOF comes
	columns int // of the statement that is prepared, that are to come behind its parameters
	layout  layout
	started bool // something of it has gone to the client
}

// first reports whether nothing of the answer has gone to the client.
func (r *reply) first() bool { return !r.started }

// binary reports whether rows are in binary.
func (r *reply) binary() bool { return r.kind == replyExecute || r.kind == replyFetch }

// serverPacket handles the next packet of the server. It reports false when it
// needs more bytes.
func (c *conversation) serverPacket(s *stream) bool {
	if s.rest > 0 {
		return c.streamed(s, 0, c.reply.op)
	}
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	size, _ := header(b)
	if s.goes {
		return c.streamed(s, size, c.reply.op)
	}
	if c.reply.kind == replyNone {
		return c.unasked(s, b, size)
	}
	if size == headerSize && c.reply.kind != replyText {
		c.violate(protocol.ServerLeg, errMalformed)
		return false
	}
	if len(b) == headerSize {
		return size == headerSize && c.whole(s, b)
	}
	if c.streams(b[headerSize], size) {
		c.reply.op.Outcome.Rows++
		return c.streamed(s, size, c.reply.op)
	}
	if size > c.plugin.options.MaxMessage+headerSize {
		c.endUnshown(s, "sluice: a row with masked columns is larger than the limit")
		return false
	}
	return len(b) >= size && c.whole(s, b[:size])
}

// unasked handles what the server says by itself: an error, as it ends the
// session.
func (c *conversation) unasked(s *stream, b []byte, size int) bool {
	if len(b) < size {
		return false
	}
	if size == headerSize || b[headerSize] != 0xff || size > maxLoginFrame {
		c.violate(protocol.ServerLeg, errMalformed)
		return false
	}
	c.relayError(s, b[:size])
	return !c.halted
}

// streams reports whether a packet is a row that nobody changes.
func (c *conversation) streams(first byte, size int) bool {
	r := &c.reply
	if r.stage != stageRows || r.own != nil || r.op == nil || r.layout.changes || first == 0xff {
		return false
	}
	return first != 0xfe || size >= headerSize+9
}

// whole handles a packet that was seen whole.
func (c *conversation) whole(s *stream, frame []byte) bool {
	payload := frame[headerSize:]
	r := &c.reply
	switch {
	case r.kind == replyText:
		c.relay(s, frame)
		c.replied(protocol.Outcome{Status: protocol.OK})
	case payload[0] == 0xff:
		c.serverFailed(s, frame)
	case r.stage == stageRows:
		c.serverRow(s, frame)
	case r.stage == stageColumns || r.stage == stageParams:
		c.serverDefinition(s, frame)
	case r.kind == replyPrepare:
		c.serverPrepared(s, frame)
	case payload[0] == 0xfe && r.kind == replyPlain, payload[0] == 0:
		c.serverOK(s, frame)
	case r.kind == replyPlain:
		c.violate(protocol.ServerLeg, errMalformed)
	default:
		c.serverColumns(s, frame)
	}
	return !c.halted
}

// relay passes a packet on to the client, unless the answer is ours alone.
func (c *conversation) relay(s *stream, frame []byte) {
	if c.reply.own != nil {
		c.swallow(s, len(frame))
		return
	}
	c.reply.started = true
	c.pass(s, len(frame), c.reply.op)
}

// noteOK reads an OK packet's status.
func (c *conversation) noteOK(payload []byte) bool {
	r := reader{b: payload}
	r.uint8()
	affected := r.length()
	r.length() // the last id
	c.status = r.uint16()
	if o := c.reply.op; o != nil && !r.bad {
		o.tag(affected)
	}
	return !r.bad
}

// tag notes what a statement says that it has done.
func (o *op) tag(affected uint64) {
	if o.analysis == nil || len(o.analysis.Statements) == 0 {
		return
	}
	o.Outcome.Tag = o.analysis.Statements[0].Kind
	if affected > 0 {
		o.Outcome.Tag += " " + strconv.FormatUint(affected, 10)
	}
}

// noteEOF reads an EOF packet's status.
func (c *conversation) noteEOF(payload []byte) bool {
	r := reader{b: payload}
	r.uint8()
	r.uint16() // warnings
	c.status = r.uint16()
	return !r.bad && len(payload) == 5
}

// serverOK ends a result without rows.
func (c *conversation) serverOK(s *stream, frame []byte) {
	payload := frame[headerSize:]
	ok := payload[0] == 0 && c.noteOK(payload) || payload[0] == 0xfe && c.noteEOF(payload)
	if !ok {
		c.violate(protocol.ServerLeg, errMalformed)
		return
	}
	c.relay(s, frame)
	c.resultEnds()
}

// resultEnds ends one result; there may be more.
func (c *conversation) resultEnds() {
	if c.status&statusMoreResults != 0 && (c.reply.kind == replyQuery || c.reply.kind == replyExecute) {
		c.reply.stage = stageFirst
		c.reply.layout = layout{}
		if c.reply.op != nil {
			c.reply.op.at++
		}
		return
	}
	if c.reply.own != nil {
		c.answered(true)
		return
	}
	c.replied(protocol.Outcome{Status: protocol.OK})
}

// replied ends the answer to a command.
func (c *conversation) replied(outcome protocol.Outcome) {
	o := c.reply.op
	c.reply = reply{}
	if o != nil {
		c.ended(o, outcome.Status == protocol.OK)
		o.end(outcome)
		c.settle(o)
	}
	c.resume()
}

// serverFailed ends the answer to a command, whatever else was to come.
func (c *conversation) serverFailed(s *stream, frame []byte) {
	e, ok := readFailure(frame[headerSize:])
	if !ok {
		c.violate(protocol.ServerLeg, errMalformed)
		return
	}
	if c.reply.own != nil {
		c.swallow(s, len(frame))
		c.answered(false)
		return
	}
	c.relayError(s, frame)
	if c.reply.kind == replyPrepare {
		c.statements.last = 0
	}
	c.replied(protocol.Outcome{Status: protocol.Failed, Code: e.text()})
}

// serverColumns begins a result with rows. A server that asks for a file of
// the client's instead was not told that it may.
func (c *conversation) serverColumns(s *stream, frame []byte) {
	r := reader{b: frame[headerSize:]}
	n := r.length()
	if !r.done() || n == 0 || n > maxColumns {
		c.violate(protocol.ServerLeg, errMalformed)
		return
	}
	c.reply.stage, c.reply.left = stageColumns, int(n)
	c.reply.layout = layout{fields: make([]field, 0, n)}
	if c.reply.own != nil {
		c.reply.own.width = int(n)
	}
	c.relay(s, frame)
}

// maxColumns is the most columns that a server sends (MAX_FIELDS).
const maxColumns = 4096

// serverDefinition reads one column or parameter, or the EOF behind the last.
func (c *conversation) serverDefinition(s *stream, frame []byte) {
	payload := frame[headerSize:]
	r := &c.reply
	if payload[0] == 0xfe && len(payload) == 5 && r.left <= 0 {
		if !c.noteEOF(payload) {
			c.violate(protocol.ServerLeg, errMalformed)
			return
		}
		c.definitionsEnd(s, frame)
		return
	}
	f, ok := readField(payload, r.kind == replyFields)
	if !ok || r.left == 0 {
		c.violate(protocol.ServerLeg, errMalformed)
		return
	}
	if r.left > 0 {
		r.left--
	}
	if r.stage == stageColumns && r.kind != replyFields {
		r.layout.fields = append(r.layout.fields, f)
	}
	c.relay(s, frame)
}

func (c *conversation) definitionsEnd(s *stream, frame []byte) {
	r := &c.reply
	c.relay(s, frame)
	switch {
	case r.kind == replyFields:
		c.replied(protocol.Outcome{Status: protocol.OK})
	case r.kind == replyPrepare && r.stage == stageParams && r.columns > 0:
		r.stage, r.left = stageColumns, r.columns
	case r.kind == replyPrepare:
		c.preparedWhole()
	default:
		r.stage = stageRows
		if r.own == nil {
			c.judge()
		}
		if r.statement != nil {
			r.statement.layout = r.layout
		}
		if r.kind == replyExecute && c.status&statusCursor != 0 {
			c.resultEnds()
		}
	}
}

// serverRow reads a row that has to be seen whole, or the EOF behind the last.
func (c *conversation) serverRow(s *stream, frame []byte) {
	payload := frame[headerSize:]
	if payload[0] == 0xfe && len(frame) < headerSize+9 {
		if !c.noteEOF(payload) {
			c.violate(protocol.ServerLeg, errMalformed)
			return
		}
		c.relay(s, frame)
		c.resultEnds()
		return
	}
	if q := c.reply.own; q != nil {
		c.swallow(s, len(frame))
		if !q.row(payload) {
			c.violate(protocol.ServerLeg, errTooLarge)
		}
		return
	}
	if c.reply.op == nil || !c.maskRow(s, frame) {
		c.violate(protocol.ServerLeg, errMalformed)
	}
}
