package mysql

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A packet is a length of three bytes in little-endian order, which does not
// count itself, a sequence number, and a payload. A payload of maxPacket bytes
// is continued by the next packet.

// headerSize is the size of a packet's header.
const headerSize = 4

// maxPacket is the longest payload of one packet; a longer message goes on in
// the next one.
const maxPacket = 1<<24 - 1

var (
	errMalformed = errors.New("a message is malformed")
	errSequence  = errors.New("a packet has the wrong sequence number")
)

// header reads a packet's header, of which b holds at least headerSize bytes.
// size counts the header too.
func header(b []byte) (size int, sequence byte) {
	return headerSize + (int(b[0]) | int(b[1])<<8 | int(b[2])<<16), b[3]
}

// open begins a packet. shut writes its length.
func open(dst []byte, sequence byte) (out []byte, mark int) {
	return append(dst, 0, 0, 0, sequence), len(dst)
}

// shut ends a packet that was begun at mark. What is longer than a packet is no
// message of ours.
func shut(dst []byte, mark int) []byte {
	n := len(dst) - mark - headerSize
	dst[mark], dst[mark+1], dst[mark+2] = byte(n), byte(n>>8), byte(n>>16)
	return dst
}

// appendPacket appends a packet with the given payload.
func appendPacket(dst []byte, sequence byte, payload ...[]byte) []byte {
	dst, mark := open(dst, sequence)
	for _, part := range payload {
		dst = append(dst, part...)
	}
	return shut(dst, mark)
}

// reader reads fields of a payload. Behind a field that is not there everything
// is zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }

func (r *reader) uint8() byte {
	if field := r.take(1); field != nil {
		return field[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if field := r.take(2); field != nil {
		return binary.LittleEndian.Uint16(field)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if field := r.take(4); field != nil {
		return binary.LittleEndian.Uint32(field)
	}
	return 0
}

// cstring reads up to a NUL.
func (r *reader) cstring() []byte {
	end := bytes.IndexByte(r.b, 0)
	if end < 0 {
		r.b, r.bad = nil, true
		return nil
	}
	field := r.b[:end]
	r.b = r.b[end+1:]
	return field
}

// isNull is the first byte of a text value that is NULL. It is no length.
const isNull = 0xfb

// length reads a number that says its own size. NULL is none.
func (r *reader) length() uint64 {
	switch first := r.uint8(); first {
	case isNull, 0xff:
		r.bad = true
		return 0
	case 0xfc:
		return uint64(r.uint16())
	case 0xfd:
		if b := r.take(3); b != nil {
			return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16
		}
		return 0
	case 0xfe:
		if b := r.take(8); b != nil {
			return binary.LittleEndian.Uint64(b)
		}
		return 0
	default:
		return uint64(first)
	}
}

// text reads a length and as many bytes.
func (r *reader) text() []byte {
	n := r.length()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	return r.take(int(n))
}

// cell reads a value of a text row.
func (r *reader) cell() (value []byte, null bool) {
	if len(r.b) > 0 && r.b[0] == isNull {
		r.b = r.b[1:]
		return nil, true
	}
	return r.text(), false
}

// appendLength appends a number in its shortest form.
func appendLength(dst []byte, n uint64) []byte {
	switch {
	case n < isNull:
		return append(dst, byte(n))
	case n < 1<<16:
		return append(dst, 0xfc, byte(n), byte(n>>8))
	case n < 1<<24:
		return append(dst, 0xfd, byte(n), byte(n>>8), byte(n>>16))
	}
	return binary.LittleEndian.AppendUint64(append(dst, 0xfe), n)
}

// appendText appends a length and the bytes.
func appendText(dst, value []byte) []byte {
	return append(appendLength(dst, uint64(len(value))), value...)
}
