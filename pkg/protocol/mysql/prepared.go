package mysql

import (
	"bytes"
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// statements are what a session has prepared, by the server's ids.
type statements struct {
	byID  map[uint32]*statement
	bytes int    // of all texts and long data
	last  uint32 // the one prepared last; 0: that failed
}

// statement is one prepared statement. The server reads its text once, so that
// it means what it meant then.
type statement struct {
	id       uint32
	text     []byte
	analysis *mysqltext.Analysis
	reading  mysqltext.Options // under which it was understood
	database string            // where its names were looked for
	params   int
	types    []byte // of the parameters, two bytes each, as last sent
	long     []byte // COM_STMT_SEND_LONG_DATA packets, kept until they run
	layout   layout // of the rows of its cursor
	ran      *op    // what its rows were judged by
}

func (t *statements) reset() { *t = statements{byID: map[uint32]*statement{}} }

func (t *statements) drop(id uint32) {
	if old := t.byID[id]; old != nil {
		t.bytes -= len(old.text) + len(old.long)
		delete(t.byID, id)
	}
}

// latest is an id that means the statement that was prepared last (MariaDB).
const latest = 0xffffffff

// find returns the statement that a command is about.
func (t *statements) find(frame []byte) *statement {
	id, ok := statementID(frame)
	if !ok {
		return nil
	}
	if id == latest {
		id = t.last
	}
	return t.byID[id]
}

// clientPrepare forwards a text to be prepared: without a COM_STMT_EXECUTE it
// has no effect.
func (c *conversation) clientPrepare(s *stream, frame []byte) {
	text := frame[headerSize+1:]
	if c.stand() {
		return
	}
	if len(c.statements.byID) >= c.plugin.options.MaxStatements || c.statements.bytes+len(text) > c.plugin.options.MaxStatementBytes {
		c.swallow(s, len(frame))
		c.sendError(1, errorOf(codeTooMany, "sluice: this session keeps too many prepared statements"), nil)
		return
	}
	analysis, now := c.understand(text)
	if !now {
		return
	}
	kept := &statement{text: bytes.Clone(text), analysis: analysis, reading: c.standing.reading, database: c.standing.database}
	c.forward(s, frame, reply{kind: replyPrepare, statement: kept})
}

// serverPrepared reads the head of the answer to a COM_STMT_PREPARE.
func (c *conversation) serverPrepared(s *stream, frame []byte) {
	r := reader{b: frame[headerSize:]}
	word := r.uint8()
	id, columns, params := r.uint32(), int(r.uint16()), int(r.uint16())
	if r.bad || word != 0 || id == 0 || id == latest {
		c.violate(protocol.ServerLeg, errMalformed)
		return
	}
	kept := c.reply.statement
	kept.id, kept.params = id, params
	c.relay(s, frame)
	c.reply.columns = columns
	switch {
	case params > 0:
		c.reply.stage, c.reply.left = stageParams, params
	case columns > 0:
		c.reply.stage, c.reply.left = stageColumns, columns
	default:
		c.preparedWhole()
	}
}

// preparedWhole keeps a statement that the server has prepared.
func (c *conversation) preparedWhole() {
	kept := c.reply.statement
	c.statements.drop(kept.id)
	c.statements.byID[kept.id] = kept
	c.statements.bytes += len(kept.text)
	c.statements.last = kept.id
	c.replied(protocol.Outcome{})
}

// unknownStatement answers a command about a statement that is none.
func (c *conversation) unknownStatement(s *stream, frame []byte) {
	c.swallow(s, len(frame))
	c.sendError(1, errorOf(codeNoStatement, "Unknown prepared statement handler given to sluice"), nil)
}

// clientExecute decides one run of a prepared statement.
func (c *conversation) clientExecute(s *stream, frame []byte) {
	kept := c.statements.find(frame)
	if kept == nil {
		c.unknownStatement(s, frame)
		return
	}
	if c.front.op == nil {
		if c.stand() {
			return
		}
		analysis := c.asPrepared(kept)
		if c.lookUp(analysis) {
			return
		}
		o := c.newOp(operation.Statement)
		if !o.bind(kept, frame) {
			c.violate(protocol.ClientLeg, errMalformed)
			return
		}
		c.describe(o, kept.text, analysis)
		o.Operation.Source = kept.text
		o.Operation.Bytes = frame
		if len(kept.long) > 0 {
			o.bytes = append(append(o.bytes, kept.long...), frame...)
			o.Operation.Bytes = o.bytes
		}
		c.ask(o)
		return
	}
	o := c.front.op
	if !c.cleared(s, len(frame)) || c.mayKill(o, kept.text) && c.denyKill(s, len(frame)) {
		return
	}
	kept.ran = o
	c.statements.bytes -= len(kept.long)
	kept.long = nil
	c.run(s, frame, reply{kind: replyExecute, statement: kept})
}

// asPrepared is what a prepared statement says now: nothing that is certain,
// where texts or names are read in another way than when it was prepared.
func (c *conversation) asPrepared(kept *statement) *mysqltext.Analysis {
	if kept.reading != c.standing.reading || kept.database != c.standing.database {
		return nil
	}
	return kept.analysis
}

// clientFetch decides the fetching of rows from the cursor of a prepared
// statement, as that statement again.
func (c *conversation) clientFetch(s *stream, frame []byte) {
	kept := c.statements.find(frame)
	if kept == nil || kept.ran == nil {
		c.unknownStatement(s, frame)
		return
	}
	if c.front.op == nil {
		o := c.newOp(operation.Statement)
		c.describe(o, kept.text, c.asPrepared(kept))
		o.Operation.Source = kept.text
		o.Operation.Bytes = frame
		c.ask(o)
		return
	}
	o := c.front.op
	if !c.cleared(s, len(frame)) {
		return
	}
	o.reach = kept.ran.reach
	c.run(s, frame, reply{kind: replyFetch, stage: stageRows, layout: kept.layout})
}

// clientLongData keeps a piece of a parameter until the statement runs: it is
// decided with it. What is too much makes the statement one that is not known.
func (c *conversation) clientLongData(s *stream, frame []byte) {
	kept := c.statements.find(frame)
	c.swallow(s, len(frame))
	if kept == nil || len(frame) < headerSize+7 {
		return // as a server, which answers nothing either
	}
	if len(kept.long)+len(frame) > c.plugin.options.MaxMessage {
		c.close(kept)
		return
	}
	mark := len(kept.long)
	kept.long = append(kept.long, frame...)
	binary.LittleEndian.PutUint32(kept.long[mark+headerSize+1:], kept.id) // the latest is another one by then, maybe
	c.statements.bytes += len(frame)
}

// close has the server forget a statement.
func (c *conversation) close(kept *statement) {
	c.statements.drop(kept.id)
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		return appendPacket(dst, 0, []byte{comStmtClose}, binary.LittleEndian.AppendUint32(nil, kept.id))
	})
}

// clientClose forgets a statement. Nobody answers.
func (c *conversation) clientClose(s *stream, frame []byte) {
	kept := c.statements.find(frame)
	c.swallow(s, len(frame))
	if kept != nil {
		c.close(kept)
	}
}

// clientReset drops what was sent of a statement's parameters, and its cursor.
func (c *conversation) clientReset(s *stream, frame []byte) {
	kept := c.statements.find(frame)
	if kept == nil {
		c.unknownStatement(s, frame)
		return
	}
	c.statements.bytes -= len(kept.long)
	kept.long, kept.ran = nil, nil
	c.forward(s, frame, reply{kind: replyPlain})
}
