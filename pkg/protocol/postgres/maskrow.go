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
	judged uint64 // catalog.readings when the fields were judged; 0: never
	masked bool   // some field is masked, or may be
}

// field is one column of a result.
type field struct {
	table  uint32 // and column: its origin as the server tells it, or 0
	column int16
	typ    uint32
	binary bool // its format

	method mask.Method  // empty: the value passes, but for what paths hide
	paths  []*mask.Path // what is hidden inside of the value
	mask   string
}

func (l *layout) reset() { *l = layout{fields: l.fields[:0]} }

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
		l.fields = append(l.fields, field{table: table, column: int16(column), typ: typ, binary: r.int16() != 0})
	}
	return r.done()
}

// rowLayout is the layout of the rows that a debt is answered with, judged by
// the catalog as it is now; nil where the server did not describe them.
func (c *conversation) rowLayout(head *debt) *layout {
	l := &c.layout
	if head.portal != nil {
		l = &head.portal.layout
	}
	if !l.known {
		return nil
	}
	if l.judged == 0 || l.judged != c.catalog.readings {
		c.catalog.judge(l, head.op.touched, head.op.lineage())
	}
	return l
}

// rowsPass reports whether the rows of an answer are relayed as they are.
func (c *conversation) rowsPass(head *debt) bool {
	if !c.masks() {
		return true
	}
	if c.detects() {
		return false
	}
	l := c.rowLayout(head)
	return l != nil && !l.masked
}

// masks reports whether any value may have to be changed in this session.
func (c *conversation) masks() bool { return !c.catalog.masks.Empty() }

// detects reports whether every value is looked into.
func (c *conversation) detects() bool { return len(c.catalog.masks.Detect) > 0 }

// answerRow relays a row with its masked values replaced. Without a description
// of it the session ends, because the server cannot be told to take back what
// it did.
func (c *conversation) answerRow(s *stream, frame []byte, head *debt) bool {
	l := c.rowLayout(head)
	if l == nil {
		c.endUnshown(s, frame, head.op, "sluice: the columns of this result are not known, so it is refused")
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

// endUnshown ends a session whose server sends what must not be shown.
func (c *conversation) endUnshown(s *stream, frame []byte, o *op, reason string) {
	c.swallow(s, len(frame))
	c.fatal(stateRefused, reason)
	o.end(protocol.Outcome{Status: protocol.Refused, Code: stateRefused})
	c.settle(o)
	c.act(protocol.Action{Kind: protocol.End})
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
