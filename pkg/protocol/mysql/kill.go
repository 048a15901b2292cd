package mysql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// killing is the operation of a KILL, of a session or of what runs in it.
func (c *conversation) killing(id uint64) *op {
	o := c.newOp(operation.Cancel)
	found, _ := c.plugin.threads.find(id, c.conn)
	o.Operation.Parsed = found != nil
	o.Operation.ReadOnly = true
	return o
}

// kills does what a text that is one KILL asks for. It reports whether it was
// one, or was refused because it may be.
func (c *conversation) kills(s *stream, size int) bool {
	if !c.mayKill(c.front.op, s.src[s.pos+headerSize+1:s.pos+size]) {
		return false
	}
	id, query, ok := killed(string(s.src[s.pos+headerSize+1 : s.pos+size]))
	if ok {
		c.kill(s, size, id, query)
		return true
	}
	return c.denyKill(s, size)
}

// mayKill reports whether an operation may kill a session: one of its
// statements does, or nobody knows and the word is there.
func (c *conversation) mayKill(o *op, text []byte) bool {
	if o.analysis == nil {
		return strings.Contains(strings.ToUpper(string(text)), "KILL")
	}
	return slices.ContainsFunc(o.sql.Statements, func(s operation.SQLStatement) bool { return strings.HasPrefix(s.Kind, "KILL") })
}

// denyKill refuses a KILL whose session cannot be told, unless a rule, and not
// the default, allows it. It reports whether it did.
func (c *conversation) denyKill(s *stream, size int) bool {
	if c.front.answer.Rule != "" {
		return false
	}
	c.deny(s, size, errorOf(codeRefused, "sluice: KILL is passed on as a text by itself, with the number of a connection"), "")
	return true
}

// killed reads KILL [HARD|SOFT] [CONNECTION|QUERY] number.
func killed(text string) (id uint64, query, ok bool) {
	for i, word := range strings.Fields(strings.TrimRight(strings.TrimSpace(text), "; \t\r\n")) {
		switch word = strings.ToUpper(word); {
		case i == 0 && word == "KILL", word == "HARD", word == "SOFT", word == "CONNECTION":
		case word == "QUERY":
			query = true
		default:
			n, err := strconv.ParseUint(word, 10, 64)
			if err != nil || ok {
				return 0, false, false
			}
			id, ok = n, true
		}
	}
	return id, query, ok
}

// kill ends what another session of the same workload waits for or runs. The
// server knows all sessions of the agent as one user's, so that a number that
// is nobody's of this workload is passed on only where a rule, and not the
// default, allows it.
func (c *conversation) kill(s *stream, size int, id uint64, query bool) {
	o := c.front.op
	found, real := c.plugin.threads.find(id, c.conn)
	switch {
	case found == nil && c.front.answer.Rule == "":
		c.deny(s, size, errorOf(codeNoThread, "sluice: this job has no connection of that number here"), "")
	case found != nil && found != &c.thread && found.interrupt():
		c.front = front{}
		c.swallow(s, size)
		c.synthesise(protocol.ClientLeg, o, func(dst []byte) []byte {
			return appendPacket(dst, 1, []byte{0, 0, 0, byte(c.status), byte(c.status >> 8), 0, 0})
		})
		o.end(protocol.Outcome{Status: protocol.OK})
		c.settle(o)
	default:
		if found == nil {
			real = uint32(id)
		}
		text := "KILL "
		if query {
			text += "QUERY "
		}
		o.bytes = appendPacket(nil, 0, []byte{comQuery}, []byte(text+strconv.FormatUint(uint64(real), 10)))
		c.run(s, s.src[s.pos:s.pos+size], reply{kind: replyQuery})
	}
}
