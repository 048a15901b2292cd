package mysql

import (
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// stageFile is a reply that waits for a file of the client's.
const stageFile stage = stageParams + 1

// packet relays the next packet of the server behind the login, and follows the
// answer that it belongs to.
func (o *observer) packet(s *stream, size int) bool {
	b := s.src[s.pos:]
	if s.goes { // on, a row that is longer than a packet
		return o.streamed(s, size, s.op)
	}
	if len(o.owed) == 0 {
		return o.unaskedPacket(s, size)
	}
	r := o.owed[0]
	if len(b) == headerSize && size > headerSize {
		return false // the first byte says what it is
	}
	if r.stage != stageFirst && r.stage != stageFile && size > headerSize && !o.ends(b, size) {
		return o.element(s, r, size)
	}
	if size > maxLoginFrame || r.stage == stageFile || size == headerSize && r.kind != replyText {
		o.relayUnread(notUnderstood)
		return false
	}
	if len(b) < size {
		return false
	}
	o.head(s, r, b[:size])
	return true
}

// unaskedPacket relays what the server says by itself: why it ends the session.
func (o *observer) unaskedPacket(s *stream, size int) bool {
	b := s.src[s.pos:]
	if len(b) == headerSize {
		return false
	}
	if b[headerSize] != 0xff || size > maxLoginFrame {
		o.relayUnread(notUnderstood)
		return false
	}
	return o.streamed(s, size, nil)
}

// ends reports whether a packet is no element of what it stands in, but an error
// or the end.
func (o *observer) ends(b []byte, size int) bool {
	switch b[headerSize] {
	case 0xff:
		return true
	case 0xfe:
		return size < headerSize+9 || o.can&canNoEOF != 0 && size < headerSize+maxPacket
	}
	return false
}

// element relays a column or a row, of which only the number counts.
func (o *observer) element(s *stream, r *reply, size int) bool {
	whole := o.streamed(s, size, r.op)
	switch {
	case r.stage == stageRows && r.op != nil:
		r.op.Outcome.Rows++
	case r.stage != stageRows && r.left > 0:
		if r.left--; r.left == 0 && o.can&canNoEOF != 0 {
			o.columnsEnd(r, 0)
		}
	}
	return whole
}

// head relays a packet that begins or ends something.
func (o *observer) head(s *stream, r *reply, frame []byte) {
	payload := frame[headerSize:]
	o.pass(s, len(frame), r.op)
	if r.kind == replyText {
		o.answeredNext(protocol.Outcome{Status: protocol.OK})
		return
	}
	switch first := payload[0]; {
	case first == 0xff:
		e, _ := readFailure(payload)
		if e.number != progress {
			o.answeredNext(protocol.Outcome{Status: protocol.Failed, Code: e.text()})
		}
	case r.stage == stageRows:
		o.resultOver(r, payload)
	case r.stage != stageFirst:
		o.columnsEnd(r, statusOf(payload))
	case r.kind == replyPrepare:
		o.preparedHead(r, payload)
	case first == 0xfe, first == 0 && len(payload) >= 7:
		o.resultOver(r, payload)
	case first == isNull && r.kind != replyPlain:
		r.stage = stageFile
	case r.kind == replyPlain:
		o.relayUnread(notUnderstood)
	default:
		o.columns(r, payload)
	}
}

// progress is the number of an error that is none: MariaDB tells how far a
// statement is.
const progress = 0xffff

// columns begins a result with rows. Who agreed on it may leave out what is
// known of the columns, and says so: MySQL before their number, MariaDB behind.
func (o *observer) columns(r *reply, payload []byte) {
	f := reader{b: payload}
	described := true
	if o.can&canNoMetadata != 0 {
		described = f.uint8() != 0
	}
	n := f.length()
	if len(f.b) == 1 {
		described = f.uint8() != 0
	}
	if !f.done() || n == 0 || n > maxColumns {
		o.relayUnread(notUnderstood)
		return
	}
	r.stage, r.left = stageColumns, int(n)
	if !described {
		r.left = 0
	}
	if r.left == 0 && o.can&canNoEOF != 0 {
		o.columnsEnd(r, 0)
	}
}

// columnsEnd goes on behind descriptions of columns or parameters.
func (o *observer) columnsEnd(r *reply, status uint16) {
	switch {
	case r.kind == replyFields:
		o.answeredNext(protocol.Outcome{Status: protocol.OK})
	case r.kind == replyPrepare && r.stage == stageParams && r.columns > 0:
		r.stage, r.left = stageColumns, r.columns
	case r.kind == replyPrepare:
		o.keepPrepared(r)
	case status&statusCursor != 0:
		o.answeredNext(protocol.Outcome{Status: protocol.OK})
	default:
		r.stage = stageRows
	}
}

// preparedHead reads the answer to a COM_STMT_PREPARE.
func (o *observer) preparedHead(r *reply, payload []byte) {
	f := reader{b: payload}
	word, id := f.uint8(), f.uint32()
	r.columns = int(f.uint16())
	r.statement.id, r.statement.params = id, int(f.uint16())
	f.take(3)
	described := o.can&canNoMetadata == 0 || len(f.b) == 0 || f.uint8() != 0
	switch {
	case word != 0 || len(payload) < 9:
		o.relayUnread(notUnderstood)
	case described && r.statement.params > 0:
		r.stage, r.left = stageParams, r.statement.params
	case described && r.columns > 0:
		r.stage, r.left = stageColumns, r.columns
	default:
		o.keepPrepared(r)
	}
}

func (o *observer) keepPrepared(r *reply) {
	o.statements.drop(r.statement.id)
	if len(o.statements.byID) < o.plugin.options.MaxStatements {
		o.statements.byID[r.statement.id] = r.statement
		o.statements.bytes += len(r.statement.text)
	}
	o.answeredNext(protocol.Outcome{Status: protocol.OK})
}

// resultOver ends one result; there may be more.
func (o *observer) resultOver(r *reply, payload []byte) {
	o.status = statusOf(payload)
	if f := (reader{b: payload[1:]}); len(payload) >= 7 && r.op != nil {
		if affected := f.length(); !f.bad && r.stage == stageFirst {
			r.op.tag(affected)
		}
	}
	if o.status&statusMoreResults != 0 && (r.kind == replyQuery || r.kind == replyExecute) {
		r.stage = stageFirst
		return
	}
	o.answeredNext(protocol.Outcome{Status: protocol.OK})
}

// statusOf is the status in an OK packet, or in an EOF packet, which is shorter.
func statusOf(payload []byte) uint16 {
	if payload[0] == 0xfe && len(payload) == 5 {
		return binary.LittleEndian.Uint16(payload[3:])
	}
	r := reader{b: payload[1:]}
	r.length()
	r.length()
	return r.uint16()
}

// answeredNext ends the answer to the command that came first.
func (o *observer) answeredNext(outcome protocol.Outcome) {
	r := o.owed[0]
	o.owed = o.owed[1:]
	if outcome.Status != protocol.OK && r.statement == o.last && r.kind == replyPrepare {
		o.last = nil
	}
	if r.op == nil {
		return
	}
	if outcome.Status == protocol.OK {
		o.follow(r.op.analysis)
	}
	r.op.end(outcome)
	o.settle(r.op)
}
