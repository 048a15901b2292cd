package postgres

import (
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// quotes reports whether a message of the server that is no row holds
// something that a detector finds.
func (c *conversation) quotes(frame []byte) bool {
	_, _, by := c.catalog.masks.Find(frame[headerSize:])
	return by != nil
}

// answerCopyData relays a row of COPY TO STDOUT without what detectors find in
// it. The server sends one row in each message.
func (c *conversation) answerCopyData(s *stream, frame []byte, o *op) bool {
	hides := masker{c.catalog.masks, c.catalog.key}
	if _, _, by := hides.set.Find(frame[headerSize:]); by == nil && !c.copyOut.binary {
		c.pass(s, len(frame), o)
		return true
	}
	c.cut()
	buf := c.scratch[c.caller]
	from := len(buf)
	buf, mark := open(buf, msgCopyData)
	buf, ok := c.copyOut.row(buf, frame[headerSize:], &hides, o)
	if !ok {
		return false
	}
	buf = shut(buf, mark)
	c.scratch[c.caller] = buf
	s.skip(len(frame))
	c.extend(buf[from:], o)
	return true
}

// copyOut is what is known of the COPY TO STDOUT under way.
type copyOut struct {
	binary  bool
	columns int
	begun   bool // the header of the binary format has passed
}

// begin reads a CopyOutResponse.
func (c *copyOut) begin(frame []byte) bool {
	r := reader{b: frame[headerSize:]}
	*c = copyOut{binary: r.uint8() != 0, columns: r.int16()}
	return !r.bad
}

// row appends one row without what detectors find. In text and CSV the row is
// one text, and what would be no value is a constant.
func (c *copyOut) row(dst, row []byte, hides *masker, o *op) ([]byte, bool) {
	if c.binary {
		return c.binaryRow(dst, row, hides, o)
	}
	mark := len(dst)
	out, found, null := hides.set.AppendClean(dst, hides.key, row)
	o.Outcome.Masked += int64(found)
	if !null {
		return out, true
	}
	for {
		start, end, by := hides.set.Find(row)
		if by == nil {
			return append(dst, row...), len(dst) >= mark
		}
		dst = append(append(dst, row[:start]...), withheldPart...)
		row = row[end:]
	}
}

// withheldPart stands for a part of a row of COPY that a mask wants to be
// nothing.
const withheldPart = "[redacted]"

// binaryHeader is the signature, the flags and the length of what extends the
// header, which is nothing in all versions.
const binaryHeader = 11 + 4 + 4

// binaryRow appends a row of the binary format: a number of fields, and each
// one's length and bytes. Their types are not known: a value in which something
// is found is null.
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
	for range n {
		size := r.int32()
		value := []byte(nil)
		if size != -1 {
			value = r.take(int(size))
		}
		if size == -1 || r.bad {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			continue
		}
		if _, _, by := hides.set.Find(value); by != nil {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			o.Outcome.Masked++
			continue
		}
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(size)), value...)
	}
	return dst, r.done()
}

// dropParameter reports whether a ParameterStatus repeats a secret to the
// client. What it means for us was noted before.
func (c *conversation) dropParameter(s *stream, frame []byte) bool {
	if !c.detects() || !c.quotes(frame) {
		return false
	}
	c.swallow(s, len(frame))
	return true
}

// wordsWithheld reports whether the words of an error or a notice about an
// operation must not be passed on.
func (c *conversation) wordsWithheld(frame []byte, touched bool) bool {
	return touched && c.catalog.needed() || c.detects() && c.quotes(frame)
}

// answerCall relays the result of a call by function OID.
func (c *conversation) answerCall(s *stream, frame []byte, head *debt) bool {
	if head.kind != oweCall {
		return false
	}
	if !c.detects() || !c.quotes(frame) {
		c.pass(s, len(frame), head.op)
		return true
	}
	c.swallow(s, len(frame))
	head.op.Outcome.Masked++
	c.synthesise(protocol.ClientLeg, head.op, func(dst []byte) []byte {
		dst, mark := open(dst, msgFunctionCallResponse)
		return shut(append(dst, 0xff, 0xff, 0xff, 0xff), mark) // null
	})
	return true
}
