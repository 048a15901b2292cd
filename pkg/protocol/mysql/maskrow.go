package mysql

import (
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// maskRow relays a row with its masked values replaced. It reports false for a
// row that cannot be read.
func (c *conversation) maskRow(s *stream, frame []byte) bool {
	r, o := &c.reply, c.reply.op
	hides := masker{c.conn.Masks, c.masking.key}
	c.cut()
	buf := c.scratch[c.caller]
	mark := len(buf)
	_, sequence := header(frame)
	buf, at := open(buf, sequence)
	var masked int64
	var ok bool
	if r.binary() {
		buf, ok = r.layout.rewriteBinary(buf, frame[headerSize:], &hides, &masked)
	} else {
		buf, ok = r.layout.rewriteText(buf, frame[headerSize:], &hides, &masked)
	}
	if !ok {
		return false
	}
	o.Outcome.Rows++
	r.started = true
	if masked == 0 {
		c.scratch[c.caller] = buf[:mark]
		c.pass(s, len(frame), o)
		return true
	}
	if len(buf)-at-headerSize >= maxPacket {
		c.scratch[c.caller] = buf[:mark]
		c.endUnshown(s, "sluice: a row with masked columns is larger than the limit")
		return true
	}
	o.Outcome.Masked += masked
	c.scratch[c.caller] = shut(buf, at)
	s.skip(len(frame))
	c.extend(buf[mark:], o)
	return true
}

// extend relays bytes in scratch memory; rows that follow each other go as one.
func (c *conversation) extend(b []byte, op *op) {
	if n := len(c.out); n > 0 {
		last := &c.out[n-1]
		end := len(last.Bytes) + len(b)
		if last.Kind == protocol.Write && last.Op == &op.Pending && last.Leg == protocol.ClientLeg &&
			end <= cap(last.Bytes) && &last.Bytes[:end][end-1] == &b[len(b)-1] {
			last.Bytes = last.Bytes[:end]
			return
		}
	}
	c.out = append(c.out, protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: b, Op: &op.Pending})
}

// endUnshown ends a session whose server sends what must not be shown.
func (c *conversation) endUnshown(s *stream, reason string) {
	c.swallow(s, len(s.src)-s.pos)
	o := c.reply.op
	c.reply = reply{}
	c.sendError(1, errorOf(codeRefused, reason), o)
	if o != nil {
		o.end(protocol.Outcome{Status: protocol.Refused, Code: codeRefused.text()})
		c.settle(o)
	}
	c.act(protocol.Action{Kind: protocol.End})
}

// rewriteText appends the payload of a text row with masked values replaced.
func (l *layout) rewriteText(dst, payload []byte, hides *masker, masked *int64) ([]byte, bool) {
	r := reader{b: payload}
	for i := range l.fields {
		value, null := r.cell()
		if r.bad {
			return dst, false
		}
		if null {
			dst = append(dst, isNull)
			continue
		}
		var hidden int64
		dst, hidden = hides.appendText(dst, &l.fields[i], value)
		*masked += hidden
	}
	return dst, r.done()
}

// rewriteBinary appends the payload of a binary row: a zero, a bit for each
// column that is NULL, from the third bit on, and the other values.
func (l *layout) rewriteBinary(dst, payload []byte, hides *masker, masked *int64) ([]byte, bool) {
	r := reader{b: payload}
	if r.uint8() != 0 {
		return dst, false
	}
	size := (len(l.fields) + 2 + 7) / 8
	nulls := r.take(size)
	if r.bad {
		return dst, false
	}
	dst = append(dst, 0)
	bits := len(dst)
	dst = append(dst, nulls...)
	for i := range l.fields {
		if nulls[(i+2)/8]>>((i+2)%8)&1 != 0 {
			continue
		}
		f := &l.fields[i]
		whole := r.b
		value := r.binaryValue(f.typ)
		if r.bad {
			return dst, false
		}
		encoded := whole[:len(whole)-len(r.b)]
		out, hidden, null := hides.appendBinary(dst, f, value, encoded)
		*masked += hidden
		if null {
			dst[bits+(i+2)/8] |= 1 << ((i + 2) % 8)
			continue
		}
		dst = out
	}
	return dst, r.done()
}

// binaryValue reads a value of a binary row, without its length where it has
// one.
func (r *reader) binaryValue(typ byte) []byte {
	switch typ {
	case typeTiny, typeShort, typeYear, typeLong, typeInt24, typeLongLong:
		return r.take(integerSize(typ))
	case typeFloat:
		return r.take(4)
	case typeDouble:
		return r.take(8)
	case typeDate, typeDateTime, typeTimestamp, typeTime, typeDateTime2, typeTimestamp2, typeTime2:
		return r.take(int(r.uint8()))
	case typeNull:
		return nil
	}
	return r.text()
}

// masker hides values. It needs no memory but what it appends to.
type masker struct {
	set *mask.Set
	key []byte
}

// appendText appends a value of a text row as the client may see it, and says
// how many things in it were hidden.
func (m *masker) appendText(dst []byte, f *field, value []byte) (out []byte, masked int64) {
	out, masked, null := m.appendSized(dst, f, value)
	if null {
		return append(dst, isNull), masked
	}
	return out, masked
}

// appendSized appends a value with its length in front, or finds that it is
// NULL now.
func (m *masker) appendSized(dst []byte, f *field, value []byte) (out []byte, masked int64, null bool) {
	const room = 9 // for the longest length
	mark := len(dst)
	out = append(dst, make([]byte, room)...)
	out, masked, null = m.value(out, f, value)
	if null {
		return dst, masked, true
	}
	n := len(out) - mark - room
	size := appendLength(out[:mark], uint64(n))
	copy(out[len(size):], out[mark+room:])
	return out[:len(size)+n], masked, false
}

// appendBinary is appendText for a value of a binary row.
func (m *masker) appendBinary(dst []byte, f *field, value, encoded []byte) (out []byte, masked int64, null bool) {
	if f.textual() || f.bytes() || f.typ == typeJSON {
		return m.appendSized(dst, f, value)
	}
	if f.method != "" || len(f.paths) > 0 {
		return dst, 1, true
	}
	if len(m.set.Detect) > 0 && m.findsNumber(dst, f, value) {
		return dst, 1, true
	}
	return append(dst, encoded...), 0, false
}

// findsNumber looks into a value that is no text in binary.
func (m *masker) findsNumber(room []byte, f *field, value []byte) bool {
	text := value
	switch f.typ {
	case typeTiny, typeShort, typeYear, typeLong, typeInt24, typeLongLong:
		text = appendInteger(room[len(room):], value, true)
	case typeFloat, typeDouble, typeDate, typeDateTime, typeTimestamp, typeTime, typeDateTime2, typeTimestamp2, typeTime2:
		return false
	}
	_, _, by := m.set.Find(text)
	return by != nil
}

// value appends what the client may see of a value.
//
//	type               redact         hash          partial
//	text               [redacted]     32 digits     the last characters
//	binary strings     [redacted]     32 digits     [redacted]
//	JSON               a JSON string  likewise      likewise
//	all others         null           null          null
func (m *masker) value(dst []byte, f *field, value []byte) (out []byte, masked int64, null bool) {
	switch {
	case len(f.paths) > 0:
		if out, n, ok := m.set.AppendJSON(dst, m.key, value, f.paths); ok && (f.textual() || f.typ == typeJSON) {
			return out, int64(n), false
		}
		out, null = m.standIn(dst, f, value, mask.Redact)
		return out, 1, null
	case f.method != "":
		out, null = m.standIn(dst, f, value, f.method)
		return out, 1, null
	case len(m.set.Detect) > 0:
		return m.clean(dst, f, value)
	}
	return append(dst, value...), 0, false
}

func (m *masker) standIn(dst []byte, f *field, value []byte, method mask.Method) (out []byte, null bool) {
	switch {
	case method == mask.Null || !f.legible():
		return dst, true
	case f.textual():
		return method.Apply(dst, m.key, value)
	case f.typ == typeJSON:
		return method.AppendJSON(dst, m.key, value), false
	case f.bytes() && method == mask.Hash:
		return method.Apply(dst, m.key, value)
	case f.bytes():
		return mask.Redact.Apply(dst, m.key, value)
	}
	return dst, true
}

// clean appends a value without what a detector finds in it. Where the type
// does not let a part be replaced, all of it is, and where nobody can look into
// it too.
func (m *masker) clean(dst []byte, f *field, value []byte) (out []byte, masked int64, null bool) {
	if !f.legible() && len(value) > 0 {
		return dst, 1, true
	}
	if _, _, by := m.set.Find(value); by == nil {
		return append(dst, value...), 0, false
	}
	mark := len(dst)
	switch {
	case f.typ == typeJSON || f.textual() && looksLikeJSON(value):
		if out, found, ok := m.set.AppendJSON(dst, m.key, value, nil); ok && found > 0 {
			return out, int64(found), false
		}
		if f.typ == typeJSON {
			return dst[:mark], 1, true
		}
		fallthrough
	case f.textual():
		out, found, null := m.set.AppendClean(dst[:mark], m.key, value)
		return out, int64(found), null
	}
	return dst, 1, true
}

// looksLikeJSON reports whether a text may be a document: MariaDB's JSON is
// text.
func looksLikeJSON(value []byte) bool {
	return len(value) > 1 && (value[0] == '{' || value[0] == '[')
}
