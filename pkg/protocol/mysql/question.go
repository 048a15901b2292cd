package mysql

import "github.com/sluicegate/sluice/pkg/protocol"

// question is a query of the agent's own on the session's server leg. The
// client sees nothing of it.
type question struct {
	rows  [][]string // NULL is ""
	size  int        // bytes of all rows
	done  func(rows [][]string, ok bool)
	width int
}

// maxAnswers bounds what one question reads, in bytes.
const maxAnswers = 16 << 20

// question asks the server. done hears what it answered, on behalf of the
// server's leg. The client is not fed until then.
func (c *conversation) question(text string, done func(rows [][]string, ok bool)) {
	c.reply = reply{kind: replyQuery, own: &question{done: done}}
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		return appendPacket(dst, 0, []byte{comQuery}, []byte(text))
	})
}

// row keeps a row; false where it cannot be read or is too much.
func (q *question) row(payload []byte) bool {
	if q.size += len(payload) + 64; q.size > maxAnswers {
		return false
	}
	r := reader{b: payload}
	row := make([]string, 0, q.width)
	for range q.width {
		value, _ := r.cell()
		row = append(row, string(value))
	}
	q.rows = append(q.rows, row)
	return r.done()
}

// answered ends a question.
func (c *conversation) answered(ok bool) {
	q := c.reply.own
	c.reply = reply{}
	q.done(q.rows, ok)
	if c.reply.kind == replyNone && c.phase >= ready {
		c.resume()
	}
}
