package web

import "strings"

// body is what is still to come of a message's body (RFC 9112, section 6). The
// zero value is none.
type body struct {
	of      *exchange
	length  int64 // bytes; -1: to the end of the connection
	chunked bool
	chunks  chunks
}

// over reports whether nothing is to come.
func (b *body) over() bool {
	if b.chunked {
		return b.chunks.at == chunksOver
	}
	return b.length == 0
}

// toEnd reports whether the end of the connection is its end.
func (b *body) toEnd() bool { return b.of != nil && !b.chunked && b.length < 0 }

// next is how many bytes of it come next. It reports false where what follows
// them is not understood.
func (b *body) next(unread []byte) (n int, ok bool) {
	switch {
	case b.of == nil || b.over():
		return 0, true
	case b.chunked:
		return b.chunks.next(unread)
	case b.length < 0:
		return len(unread), true
	}
	n = int(min(b.length, int64(len(unread))))
	b.length -= int64(n)
	return n, true
}

// chunks is how far a body in chunks has come (RFC 9112, section 7.1).
type chunks struct {
	at     place
	size   int64 // of the chunk, that is to come
	digits int
	line   int // bytes of extensions or trailers
}

type place int

const (
	inSize place = iota
	inExtension
	behindSize // its LF
	inData
	behindData // its CR
	betweenLF  // and LF
	trailer    // the beginning of a line behind the last chunk
	inTrailer
	lastLF
	chunksOver
)

const (
	maxDigits = 15 // of a chunk's size
	maxLines  = 16 << 10
)

func (c *chunks) next(b []byte) (n int, ok bool) {
	for n < len(b) && c.at != chunksOver {
		if c.at == inData {
			part := min(c.size, int64(len(b)-n))
			n += int(part)
			if c.size -= part; c.size == 0 {
				c.at = behindData
			}
			continue
		}
		if !c.step(b[n]) {
			return n, false
		}
		n++
	}
	return n, true
}

// step takes one byte that is no data.
func (c *chunks) step(b byte) bool {
	want, next := byte('\n'), c.at
	switch c.at {
	case inSize:
		return c.sizeByte(b)
	case inExtension, inTrailer:
		return c.lineByte(b)
	case trailer:
		if b != '\r' {
			c.at = inTrailer
			return c.lineByte(b)
		}
		want, next = '\r', lastLF
	case behindSize:
		next = inData
		if c.size == 0 {
			next = trailer
		}
	case behindData:
		want, next = '\r', betweenLF
	case betweenLF:
		next, c.digits = inSize, 0
	case lastLF:
		next = chunksOver
	}
	c.at = next
	return b == want
}

func (c *chunks) sizeByte(b byte) bool {
	digit := strings.IndexByte("0123456789abcdef", b)
	if b >= 'A' && b <= 'F' {
		digit = int(b-'A') + 10
	}
	switch {
	case digit >= 0 && c.digits < maxDigits:
		c.size, c.digits = c.size<<4|int64(digit), c.digits+1
	case c.digits == 0:
		return false
	case b == ';':
		c.at = inExtension
	case b == '\r':
		c.at = behindSize
	default:
		return false
	}
	return true
}

// lineByte takes a byte of an extension or of a trailer, which mean nothing here.
func (c *chunks) lineByte(b byte) bool {
	c.line++
	switch {
	case c.line > maxLines, b == '\n' && c.at == inExtension:
		return false
	case b == '\r' && c.at == inExtension:
		c.at = behindSize
	case b == '\n':
		c.at = trailer
	}
	return true
}
