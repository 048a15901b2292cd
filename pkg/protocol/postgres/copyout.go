package postgres

import (
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// copyPlan is what masks make of the rows of a COPY TO STDOUT. The zero value
// knows no columns.
type copyPlan struct {
	active bool
	fields []field
	sends  *sqltext.CopyTo
}

// set makes a plan of the columns that the server described.
func (p *copyPlan) set(sends *sqltext.CopyTo, l *layout) {
	*p = copyPlan{active: true, fields: append([]field(nil), l.fields...), sends: sends}
	for i := range p.fields {
		p.fields[i].binary = sends.Format == "binary"
	}
}

// copyOut is what is known of the COPY TO STDOUT under way.
type copyOut struct {
	binary  bool
	columns int
	begun   bool // the header has passed
}

// answerCopyOut reads the columns that a COPY sends. When they are not those
// that were described, nobody knows what is in them.
func (c *conversation) answerCopyOut(s *stream, frame []byte, o *op) bool {
	r := reader{b: frame[headerSize:]}
	c.copyOut = copyOut{binary: r.uint8() != 0, columns: r.int16()}
	if o.copies.active && (c.copyOut.columns != len(o.copies.fields) || c.copyOut.binary != (o.copies.sends.Format == "binary")) {
		c.endUnshown(s, frame, o, "sluice: this COPY sends other columns than its query, so it is refused: name the columns")
		return true
	}
	c.pass(s, len(frame), o)
	return !r.bad
}

// copyPasses reports whether the rows of a COPY are relayed as they are.
func (c *conversation) copyPasses(o *op) bool { return !o.copies.active && !c.detects() }

// answerCopyData relays a row of COPY TO STDOUT with its masked values replaced.
// The server sends one row in each message.
func (c *conversation) answerCopyData(s *stream, frame []byte, o *op) bool {
	hides := masker{c.catalog.masks, c.catalog.key}
	row := frame[headerSize:]
	if !o.copies.active && !c.copyOut.binary {
		if _, _, by := hides.set.Find(row); by == nil {
			c.pass(s, len(frame), o)
			return true
		}
	}
	c.cut()
	buf := c.scratch[c.caller]
	from := len(buf)
	buf, mark := open(buf, msgCopyData)
	ok := true
	switch {
	case c.copyOut.binary:
		buf, ok = c.copyOut.binaryRow(buf, row, &hides, o)
	case o.copies.active:
		buf, ok = c.copyOut.textRow(buf, row, &hides, o)
	default:
		buf = cleanRow(buf, row, &hides, o)
	}
	if !ok {
		return false
	}
	buf = shut(buf, mark)
	c.scratch[c.caller] = buf
	s.skip(len(frame))
	c.extend(buf[from:], o)
	return true
}

// cleanRow appends a row of text or CSV without what detectors find. The row is
// one text, and what would be no value is a constant.
func cleanRow(dst, row []byte, hides *masker, o *op) []byte {
	out, found, null := hides.set.AppendClean(dst, hides.key, row)
	o.Outcome.Masked += int64(found)
	if !null {
		return out
	}
	for {
		start, end, by := hides.set.Find(row)
		if by == nil {
			return append(dst, row...)
		}
		dst = append(append(dst, row[:start]...), "[redacted]"...)
		row = row[end:]
	}
}

// binaryHeader is the signature, the flags and the length of what extends the
// header, which is nothing in all versions.
const binaryHeader = 11 + 4 + 4

// binaryRow appends a row of the binary format: a number of fields, and each
// one's length and bytes. Without a plan types are not known: a value in which
// something is found is null.
func (c *copyOut) binaryRow(dst, row []byte, hides *masker, o *op) ([]byte, bool) {
	r := reader{b: row}
	if !c.begun {
		dst, c.begun = append(dst, r.take(binaryHeader)...), true
	}
	n := r.int16()
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	if n == 0xffff { // the end
		return dst, r.done()
	}
	if n != c.columns {
		return dst, false
	}
	for i := range n {
		f := field{binary: true}
		if o.copies.active {
			f = o.copies.fields[i]
		}
		size := r.int32()
		if size == -1 {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			continue
		}
		var masked int64
		dst, masked = hides.appendValue(dst, &f, r.take(int(size)))
		o.Outcome.Masked += masked
	}
	return dst, r.done()
}
