package mysql

import (
	"bytes"
	"strconv"

	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// message reads a client's message behind the login: a command, or a part of a
// file that the server has asked for.
func (o *observer) message(s *stream, size int, sequence byte) bool {
	if len(o.owed) > 0 && o.owed[0].stage == stageFile && sequence != 0 {
		return o.filePart(s, size)
	}
	why := ""
	switch {
	case sequence != 0, len(o.owed) > 0 && o.owed[0].stage == stageFile, len(o.owed) == maxOwed:
		why = outOfTurn
	case size == headerSize:
		why = notUnderstood
	case size > o.plugin.options.MaxMessage+headerSize:
		why = tooLong
	}
	if why != "" {
		o.relayUnread(why)
		return false
	}
	if len(s.src)-s.pos < size {
		return false
	}
	o.observe(s, s.src[s.pos:s.pos+size])
	return true
}

// filePart relays a part of a file; an empty one is its end.
func (o *observer) filePart(s *stream, size int) bool {
	r := o.owed[0]
	if size == headerSize {
		r.stage = stageFirst
	}
	return o.streamed(s, size, r.op)
}

// observe asks about a command, or forwards it. What a command carries beside
// what its operation says is recorded with it.
func (o *observer) observe(s *stream, frame []byte) {
	body := frame[headerSize+1:]
	switch command := frame[headerSize]; command {
	case comQuery:
		text, ok := o.queryText(body)
		o.text(s, frame, text, reply{kind: replyQuery}, ok)
	case comInitDB:
		o.text(s, frame, quoteName([]byte("USE "), body), reply{kind: replyPlain}, true)
	case comStmtPrepare:
		o.prepare(s, frame, body)
	case comStmtExecute, comBulkExecute:
		o.execute(s, frame, reply{kind: replyExecute})
	case comStmtFetch:
		o.execute(s, frame, reply{kind: replyFetch, stage: stageRows})
	case comStmtSendLongData:
		o.call(s, frame, "COM_STMT_SEND_LONG_DATA", replyNone, true)
	case comStmtClose:
		if kept := o.prepared(frame); kept != nil {
			o.statements.drop(kept.id)
		}
		o.pass(s, len(frame), nil)
	case comStmtReset, comPing, comSetOption:
		o.forward(s, frame, reply{kind: replyPlain})
	case comQuit:
		o.pass(s, len(frame), nil)
	case comResetConnection:
		o.call(s, frame, "COM_RESET_CONNECTION", replyPlain, true)
	case comStatistics:
		o.call(s, frame, "COM_STATISTICS", replyText, true)
	case comFieldList:
		o.call(s, frame, "COM_FIELD_LIST "+string(bytes.TrimRight(body, "\x00")), replyFields, true)
	case comProcessKill:
		r := reader{b: body}
		o.call(s, frame, "KILL "+strconv.FormatUint(uint64(r.uint32()), 10), replyPlain, r.done())
	case comChangeUser:
		o.changeUser(s, frame, body)
	default:
		o.other(s, frame, command)
	}
}

const (
	comChangeUser  = 0x11
	comBulkExecute = 0xfa // of MariaDB
)

// other records a command that no client of a job needs. Whoever uses one speaks
// what is not read.
func (o *observer) other(s *stream, frame []byte, command byte) {
	name := refusedCommands[command]
	if name == "" {
		name = "an unknown command"
	}
	if o.asked(func(op *op) { op.named(operation.Call, name, false) }) {
		o.pass(s, len(frame), nil)
		o.owed = append(o.owed, &reply{op: o.taken()})
		o.relayUnread(notUnderstood)
	}
}

// asked asks about the command at the front, once, and reports whether that is
// answered.
func (o *observer) asked(describe func(op *op)) bool {
	if o.front.op != nil {
		return true
	}
	op := o.newOp(operation.Statement)
	describe(op)
	op.Operation.SealedResponse = op.Operation.SealedResponse || !o.conn.Masks.Empty()
	op.Operation.SealedRequest = op.Operation.SealedRequest || !o.conn.Masks.Empty()
	o.ask(op)
	return false
}

// taken takes the operation whose command is forwarded.
func (o *observer) taken() *op {
	op := o.front.op
	o.front = front{}
	op.Operation.Bytes, op.Operation.Source = nil, nil // the buffer is used again
	return op
}

func (o *op) named(kind operation.Kind, name string, known bool) {
	o.text = append(o.text, name...)
	o.Operation.Kind, o.Operation.Text, o.Operation.Parsed, o.Operation.ReadOnly = kind, o.text, known, known
}

// forward relays a command that nobody is asked about.
func (o *observer) forward(s *stream, frame []byte, next reply) {
	o.pass(s, len(frame), nil)
	o.owed = append(o.owed, &next)
}

// call asks about a command that is no statement. What is not answered has ended
// with it, and what it carries is recorded.
func (o *observer) call(s *stream, frame []byte, name string, answer replyKind, known bool) {
	if !o.asked(func(op *op) { op.named(operation.Call, name, known) }) {
		return
	}
	op := o.taken()
	if answer != replyNone {
		o.forward(s, frame, reply{kind: answer, op: op, stage: firstOf(answer), left: -1})
		return
	}
	o.pass(s, len(frame), op)
	op.end(protocol.Outcome{Status: protocol.OK})
	o.settle(op)
}

func firstOf(kind replyKind) stage {
	if kind == replyFields {
		return stageColumns
	}
	return stageFirst
}

// text asks about a text as a whole, all of its statements at once.
func (o *observer) text(s *stream, frame, text []byte, next reply, plain bool) {
	if o.front.op == nil {
		var analysis *mysqltext.Analysis
		if plain {
			now := false
			if analysis, now = o.understand(text); !now {
				return
			}
		}
		o.asked(func(op *op) { o.describe(op, text, analysis) })
		return
	}
	next.op = o.taken()
	o.forward(s, frame, next)
}

// queryText is the text of a COM_QUERY. Attributes in front of it are not read.
func (o *observer) queryText(body []byte) (text []byte, plain bool) {
	if o.can&canQueryAttrs == 0 {
		return body, true
	}
	r := reader{b: body}
	if r.length() == 0 && r.length() == 1 && !r.bad {
		return r.b, true
	}
	return body, false
}

// prepare forwards a text to be prepared: by itself it has no effect. One that
// is too much to keep is not known when it runs.
func (o *observer) prepare(s *stream, frame, text []byte) {
	kept := &statement{}
	if limits := &o.plugin.options; len(o.statements.byID) < limits.MaxStatements && o.statements.bytes+len(text) <= limits.MaxStatementBytes {
		analysis, now := o.understand(text)
		if !now {
			return
		}
		kept.text, kept.analysis = bytes.Clone(text), analysis
	}
	o.last = kept
	o.forward(s, frame, reply{kind: replyPrepare, statement: kept})
}

// prepared is the statement that a command is about. It may be sent ahead of the
// answer that gives its number.
func (o *observer) prepared(frame []byte) *statement {
	if id, ok := statementID(frame); ok && id == latest {
		return o.last
	}
	return o.statements.find(frame)
}

// execute asks about one run of a prepared statement, or the fetching of more
// of its rows. Values that are not understood are recorded as they came.
func (o *observer) execute(s *stream, frame []byte, next reply) {
	kept := o.prepared(frame)
	if kept == nil {
		kept = &statement{}
	}
	if !o.asked(func(op *op) {
		bound := next.kind == replyFetch || frame[headerSize] == comStmtExecute && o.can&canQueryAttrs == 0 && op.bind(kept, frame)
		if !bound {
			op.params, op.Operation.Params = nil, nil
		}
		op.raw = !bound
		o.describe(op, kept.text, kept.analysis)
	}) {
		return
	}
	op := o.taken()
	next.op = op
	if op.raw {
		o.pass(s, len(frame), op)
		o.owed = append(o.owed, &next)
		return
	}
	o.forward(s, frame, next)
}

// changeUser asks about another login in the same session. Its proof is not
// recorded.
func (o *observer) changeUser(s *stream, frame, body []byte) {
	if len(o.owed) > 0 {
		o.relayUnread(outOfTurn)
		return
	}
	r := reader{b: body}
	user := string(r.cstring())
	if o.can&canSecure != 0 {
		r.take(int(r.uint8()))
	} else {
		r.cstring()
	}
	database := string(r.cstring())
	if !o.asked(func(op *op) {
		op.Operation.Kind = operation.Connect
		o.describeLogin(op, user, database)
		op.Operation.Parsed = !r.bad
	}) {
		return
	}
	o.changes = o.taken()
	o.standing.role, o.standing.database = user, database
	o.statements.reset()
	o.last, o.stage = nil, proving
	o.pass(s, len(frame), nil)
}
