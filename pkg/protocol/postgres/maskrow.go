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
	masked bool   // some field is masked, or may be
	mask   string // the mask that forbids the result, when one does
}

// field is one column of a result.
type field struct {
	origin origin
	method mask.Method  // empty: the value passes, but for what paths hide
	paths  []*mask.Path // what is hidden inside of the value
	mask   string
	typ    uint32
	binary bool // its format
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
	case !c.masks():
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
		typ := uint32(r.int32())
		r.take(2 + 4) // the type's size and modifier
		f := c.catalog.judge(table, int16(column))
		f.typ, f.binary = typ, r.int16() != 0
		l.masked = l.masked || f.method != "" || len(f.paths) > 0
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
	if !c.masks() {
		return true
	}
	l := c.rowLayout(head)
	return l.known && !l.masked && !c.detects() && l.refusal(head.op.touched) == ""
}

// masks reports whether any value may have to be changed in this session.
func (c *conversation) masks() bool { return !c.catalog.masks.Empty() }

// detects reports whether every value is looked into.
func (c *conversation) detects() bool { return len(c.catalog.masks.Detect) > 0 }

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
	buf := c.scratch[c.caller]
	mark := len(buf)
	hides := masker{c.catalog.masks, c.catalog.key}
	found, ok := l.masked, true
	if !found {
		found, ok = l.finds(&hides, buf, frame)
	}
	if ok && !found {
		head.op.Outcome.Rows++
		c.pass(s, len(frame), head.op)
		return true
	}
	if s.from != s.pos {
		c.cut()
	}
	if ok {
		buf, ok = l.rewrite(buf, frame, &hides, &head.op.Outcome.Masked)
	}
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

// finds reports whether a detector finds something in a DataRow. room is memory
// to work in.
func (l *layout) finds(hides *masker, room, frame []byte) (found, ok bool) {
	r := reader{b: frame[headerSize:]}
	if r.int16() != len(l.fields) {
		return false, false
	}
	for i := range l.fields {
		size := r.int32()
		if size == -1 {
			continue
		}
		value := r.take(int(size))
		found = found || hides.finds(room, &l.fields[i], value)
	}
	return found, r.done()
}

// rewrite appends a DataRow with masked values replaced.
func (l *layout) rewrite(dst, frame []byte, hides *masker, masked *int64) ([]byte, bool) {
	r := reader{b: frame[headerSize:]}
	if r.int16() != len(l.fields) {
		return dst, false
	}
	dst, mark := open(dst, msgDataRow)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(l.fields)))
	for i := range l.fields {
		size := r.int32()
		if size == -1 {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			continue
		}
		var n int64
		dst, n = hides.appendValue(dst, &l.fields[i], r.take(int(size)))
		*masked += n
	}
	return shut(dst, mark), r.done()
}
