package mysql

// withheld stands for words that may quote a masked value.
const withheld = "sluice: the server's words are withheld, because they may quote a masked value"

// relayError passes an error on, in other words where it may quote a masked
// value or a detector finds something in it.
func (c *conversation) relayError(s *stream, frame []byte) {
	e, ok := readFailure(frame[headerSize:])
	if ok && !c.wordsWithheld(frame) {
		c.relay(s, frame)
		return
	}
	_, sequence := header(frame)
	c.swallow(s, len(frame))
	c.reply.started = true
	c.sendError(sequence, errorOf(e.code, withheld), c.reply.op)
}

// wordsWithheld reports whether the words of an error must not be passed on.
func (c *conversation) wordsWithheld(frame []byte) bool {
	if c.detected(frame) {
		return true
	}
	if !c.conn.Masks.Placed() {
		return false
	}
	switch r := &c.reply; {
	case r.op != nil:
		return r.op.reach.touched
	case r.kind == replyPrepare:
		return c.touch(r.statement.analysis).touched
	}
	return false
}
