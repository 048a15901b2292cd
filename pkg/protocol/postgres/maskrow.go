package postgres

import (
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// layout is the columns of a result and what masks make of each. Its memory is
// used again.
type layout struct {
	known  bool
	fields []field
	masked bool   // some field is masked
	mask   string // the mask that forbids the result, when one does
}

// field is one column of a result.
type field struct {
	origin origin
	method mask.Method // empty: the value passes
	mask   string
	blank  bool // a masked value becomes NULL: nothing else suits its type or format
}

func (l *layout) reset() { *l = layout{fields: l.fields[:0]} }

// refusal says why the rows may not be shown, or nothing. touched says that
// the statement may concern a masked relation, so that a column that is
// computed may carry a masked value.
func (l *layout) refusal(touched bool) string {
	if !l.known {
		return "sluice: the columns of this result are not known, so it is refused"
	}
	for i := range l.fields {
		f := &l.fields[i]
		switch {
		case f.origin == tainted:
			l.mask = f.mask
			return "sluice: a column of this result may carry masked values through a view or a whole row, so it is refused"
		case f.origin == unknownTable:
			return "sluice: a column of this result comes from a relation that is not known, so it is refused"
		case f.origin == computed && touched:
			return "sluice: a column of this result is computed, and the statement reads a relation with masked columns, so it is refused"
		}
	}
	return ""
}

// learn reads a RowDescription or NoData into the layout that it is about.
func (c *conversation) learn(kind byte, frame []byte, head *debt) bool {
	var l *layout
	switch {
	case !c.catalog.needed():
		return true
	case head.portal != nil:
		l = &head.portal.layout
	case head.kind == oweQuery:
		l = &c.layout
	case head.own:
		l = &c.front.layout
	default:
		return true // of a statement: each portal is described again
	}
	l.reset()
	l.known = true
	if kind == msgNoData {
		return true
	}
	r := reader{b: frame[headerSize:]}
	for n := r.int16(); n > 0 && !r.bad; n-- {
		r.cstring()
		table, column := uint32(r.int32()), r.int16()
		typ := r.int32()
		r.take(2 + 4) // the type's size and modifier
		f := c.catalog.judge(table, int16(column))
		f.blank = r.int16() != 0 || !textual(typ)
		l.masked = l.masked || f.method != ""
		l.fields = append(l.fields, f)
	}
	return r.done()
}

// rowLayout is the layout of the rows that a debt is answered with.
func (c *conversation) rowLayout(head *debt) *layout {
	if head.portal != nil {
		return &head.portal.layout
	}
	return &c.layout
}

// rowsPass reports whether the rows of an answer are relayed as they are.
func (c *conversation) rowsPass(head *debt) bool {
	if !c.catalog.needed() {
		return true
	}
	l := c.rowLayout(head)
	return l.known && !l.masked && l.refusal(head.op.touched) == ""
}

// answerRow relays a row with its masked values replaced. A result that must
// not be shown should have been refused before it ran; when its columns changed
// in between, the session ends, because the server cannot be told to take back
// what it did.
func (c *conversation) answerRow(s *stream, frame []byte, head *debt) bool {
	l := c.rowLayout(head)
	if reason := l.refusal(head.op.touched); reason != "" {
		c.swallow(s, len(frame))
		c.fatal(stateRefused, reason)
		head.op.end(protocol.Outcome{Status: protocol.Refused, Code: stateRefused, Rule: l.mask})
		c.settle(head.op)
		c.act(protocol.Action{Kind: protocol.End})
		return true
	}
	if s.from != s.pos {
		c.cut()
	}
	buf := c.scratch[c.caller]
	mark := len(buf)
	buf, ok := l.rewrite(buf, frame, c.catalog.key, &head.op.Outcome.Masked)
	if !ok {
		return false
	}
	c.scratch[c.caller] = buf
	s.skip(len(frame))
	head.op.Outcome.Rows++
	c.extend(buf[mark:], head.op)
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

// textual reports whether any text is a value of a type: name, text, bpchar,
// varchar.
func textual(typ int32) bool { return typ == 19 || typ == 25 || typ == 1042 || typ == 1043 }

// rewrite appends a DataRow with masked values replaced. A value in binary
// format, or of a type that not every text belongs to, becomes NULL.
func (l *layout) rewrite(dst, frame, key []byte, masked *int64) ([]byte, bool) {
	r := reader{b: frame[headerSize:]}
	if r.int16() != len(l.fields) {
		return dst, false
	}
	dst, mark := open(dst, msgDataRow)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(l.fields)))
	for i := range l.fields {
		f := &l.fields[i]
		size := r.int32()
		if size == -1 {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			continue
		}
		value := r.take(int(size))
		if f.method == "" {
			dst = binary.BigEndian.AppendUint32(dst, uint32(size))
			dst = append(dst, value...)
			continue
		}
		*masked++
		dst = f.hide(dst, key, value)
	}
	return shut(dst, mark), r.done()
}

// hide appends the length and the bytes of what stands for a value.
func (f *field) hide(dst, key, value []byte) []byte {
	at := len(dst)
	dst = append(dst, 0xff, 0xff, 0xff, 0xff)
	if f.blank {
		return dst
	}
	out, null := f.method.Apply(dst, key, value)
	if null {
		return dst
	}
	binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	return out
}
