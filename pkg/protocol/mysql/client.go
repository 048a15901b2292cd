package mysql

import (
	"encoding/binary"
	"errors"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Commands, by their first byte (my_command.h).
const (
	comQuit             = 0x01
	comInitDB           = 0x02
	comQuery            = 0x03
	comFieldList        = 0x04
	comStatistics       = 0x09
	comProcessKill      = 0x0c
	comPing             = 0x0e
	comStmtPrepare      = 0x16
	comStmtExecute      = 0x17
	comStmtSendLongData = 0x18
	comStmtClose        = 0x19
	comStmtReset        = 0x1a
	comSetOption        = 0x1b
	comStmtFetch        = 0x1c
	comResetConnection  = 0x1f
)

// refusedCommands are what no client of a job needs, by the names that are
// recorded. All that is neither here nor above is unknown.
var refusedCommands = map[byte]string{
	0x00: "COM_SLEEP", 0x05: "COM_CREATE_DB", 0x06: "COM_DROP_DB", 0x07: "COM_REFRESH", 0x08: "COM_SHUTDOWN", 0x0a: "COM_PROCESS_INFO",
	0x0b: "COM_CONNECT", 0x0d: "COM_DEBUG", 0x0f: "COM_TIME", 0x10: "COM_DELAYED_INSERT", 0x11: "COM_CHANGE_USER", 0x12: "COM_BINLOG_DUMP",
	0x13: "COM_TABLE_DUMP", 0x14: "COM_CONNECT_OUT", 0x15: "COM_REGISTER_SLAVE", 0x1d: "COM_DAEMON", 0x1e: "COM_BINLOG_DUMP_GTID",
	0xfa: "COM_STMT_BULK_EXECUTE", 0xfe: "COM_MULTI",
}

var errNoCommand = errors.New("a packet without a command")

// clientCommand handles the next command of a ready session. It reports false
// when it needs more bytes. Commands run one at a time, so that each is decided
// in the state that the one before left.
func (c *conversation) clientCommand(s *stream) bool {
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	size, sequence := header(b)
	switch {
	case sequence != 0:
		c.violate(protocol.ClientLeg, errSequence)
		return false
	case size == headerSize:
		c.violate(protocol.ClientLeg, errNoCommand)
		return false
	case size > c.plugin.options.MaxMessage+headerSize:
		c.violate(protocol.ClientLeg, errTooLarge)
		return false
	case c.reply.kind != replyNone:
		c.pause()
		return false
	case len(b) < size:
		return false
	}
	c.command(s, b[:size])
	return !c.halted
}

func (c *conversation) command(s *stream, frame []byte) {
	switch body := frame[headerSize+1:]; frame[headerSize] {
	case comQuery:
		c.clientText(s, frame, body)
	case comStmtExecute:
		c.clientExecute(s, frame)
	case comStmtPrepare:
		c.clientPrepare(s, frame)
	case comStmtFetch:
		c.clientFetch(s, frame)
	case comStmtSendLongData:
		c.clientLongData(s, frame)
	case comStmtClose:
		c.clientClose(s, frame)
	case comStmtReset:
		c.clientReset(s, frame)
	case comInitDB:
		c.clientText(s, frame, quoteName([]byte("USE "), body))
	case comProcessKill:
		c.clientProcessKill(s, frame)
	case comPing:
		c.forward(s, frame, reply{kind: replyPlain})
	case comSetOption:
		c.forward(s, frame, reply{kind: replyPlain})
	case comResetConnection:
		c.clientResetConnection(s, frame)
	case comFieldList:
		c.clientCall(s, frame, "COM_FIELD_LIST", reply{kind: replyFields, stage: stageColumns, left: -1}, !c.guarded())
	case comStatistics:
		c.clientCall(s, frame, "COM_STATISTICS", reply{kind: replyText}, true)
	case comQuit:
		c.pass(s, len(frame), nil)
		c.phase = leaving
		c.act(protocol.Action{Kind: protocol.CloseWrite, Leg: protocol.ServerLeg})
	default:
		name := refusedCommands[frame[headerSize]]
		if name == "" {
			name = "an unknown command"
		}
		c.clientCall(s, frame, name, reply{}, false)
	}
}

// quoteName appends a name in backquotes.
func quoteName(dst, name []byte) []byte {
	dst = append(dst, '`')
	for _, b := range name {
		if b == '`' {
			dst = append(dst, '`')
		}
		dst = append(dst, b)
	}
	return append(dst, '`')
}

// forward sends a command as it came.
func (c *conversation) forward(s *stream, frame []byte, next reply) {
	c.pass(s, len(frame), nil)
	c.reply = next
}

// clientText decides a text as a whole, all of its statements at once.
func (c *conversation) clientText(s *stream, frame, text []byte) {
	if c.front.op == nil {
		if c.stand() {
			return
		}
		analysis, now := c.understand(text)
		if !now || c.lookUp(analysis) {
			return
		}
		o := c.newOp(operation.Statement)
		c.describe(o, text, analysis)
		o.Operation.Bytes = frame
		c.ask(o)
		return
	}
	if !c.cleared(s, len(frame)) {
		return
	}
	if c.kills(s, len(frame)) {
		return
	}
	kind := replyQuery
	if frame[headerSize] == comInitDB {
		kind = replyPlain
	}
	c.run(s, frame, reply{kind: kind})
}

// run forwards what was decided and allowed.
func (c *conversation) run(s *stream, frame []byte, next reply) {
	o := c.front.op
	c.front = front{}
	o.Operation.Bytes, o.Operation.Source = nil, nil // the buffer is used again
	if len(o.bytes) > 0 {
		c.swallow(s, len(frame))
		c.write(protocol.ServerLeg, o.bytes, nil)
	} else {
		c.pass(s, len(frame), nil)
	}
	next.op = o
	c.reply = next
	c.forwarded(o)
}

// clientCall decides a command that is no statement. What is refused anyway is
// asked about all the same, so that it is recorded.
func (c *conversation) clientCall(s *stream, frame []byte, name string, next reply, known bool) {
	if c.front.op == nil {
		o := c.newOp(operation.Call)
		o.text = append(o.text, name...)
		o.Operation.Text, o.Operation.Bytes = o.text, frame
		o.Operation.Parsed, o.Operation.ReadOnly = known, known
		c.ask(o)
		return
	}
	switch {
	case next.kind == replyNone:
		c.deny(s, len(frame), errorOf(codeUnknown, "sluice: "+name+" is not passed on"), "")
	case !known:
		c.deny(s, len(frame), errorOf(codeRefused, "sluice: "+name+" is not passed on where rules or masks apply"), "")
	case c.cleared(s, len(frame)):
		c.run(s, frame, next)
	}
}

// clientResetConnection decides what forgets all of a session but its login.
func (c *conversation) clientResetConnection(s *stream, frame []byte) {
	c.clientCall(s, frame, "COM_RESET_CONNECTION", reply{kind: replyPlain}, true)
	if c.front.op == nil && c.reply.op != nil {
		c.statements.reset()
		c.standing.stale = true
		c.masking.forget()
	}
}

// clientProcessKill decides a KILL that came as a command.
func (c *conversation) clientProcessKill(s *stream, frame []byte) {
	r := reader{b: frame[headerSize+1:]}
	id := r.uint32()
	if !r.done() {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	if c.front.op == nil {
		o := c.killing(uint64(id))
		o.Operation.Bytes = frame
		c.ask(o)
		return
	}
	if c.cleared(s, len(frame)) {
		c.kill(s, len(frame), uint64(id), false)
	}
}

// statementID reads which statement a command is about.
func statementID(frame []byte) (id uint32, ok bool) {
	if len(frame) < headerSize+5 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(frame[headerSize+1:]), true
}
