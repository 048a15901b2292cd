package translog

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/sluicegate/sluice/pkg/record"
)

// readEntry is an entry of a records file as it was found.
type readEntry struct {
	no   uint64 // that the entry says, or that its place says when it cannot be read
	leaf record.Hash
	err  string // why the entry is not what was exported; "" when it may be

	kind     entryKind
	salt     record.Salt
	bodyHash record.Hash
	header   []byte // shares the file's memory, as body does
	body     []byte
}

// entryKind says what an entry holds.
type entryKind uint8

const (
	hidden    entryKind = iota + 1 // its leaf hash only
	destroyed                      // no body, but the commitment to it
	whole
)

// entryReader reads entries in the one form that appendEntry gives them. Every
// other form is refused, so that no bit can be changed without its meaning.
type entryReader struct {
	rest   []byte // what is still to be read
	line   []byte // what is still to be read of the entry's first line
	failed bool
}

// next reads an entry into e, which is zero. When it is not in its form, e has what
// can be learned of it, with err set, and reading goes on at the next line that begins like
// an entry.
func (r *entryReader) next(e *readEntry) {
	start := r.rest
	r.failed = false
	r.entry(e)
	if !r.failed {
		return
	}
	e.err = "the record is not in the one form that an export has"
	r.rest = start
	for r.cutLine(); len(r.rest) > 0 && !r.isHead(); {
		r.cutLine()
	}
}

// isHead reports whether a first line of an entry is next.
func (r *entryReader) isHead() bool {
	before := r.rest
	r.failed = false
	r.head(&readEntry{})
	r.rest = before
	return !r.failed
}

func (r *entryReader) entry(e *readEntry) {
	header, body := r.head(e)
	if e.kind >= destroyed {
		e.header = r.bytes(header)
	}
	if e.kind == whole {
		e.body = r.bytes(body)
	}
}

// head reads the first line of an entry, and how long header and body are.
func (r *entryReader) head(e *readEntry) (header, body int) {
	r.cutLine()
	e.no = r.number()
	r.space()
	r.base64(e.leaf[:])
	if len(r.line) == 0 {
		e.kind = hidden
		return 0, 0
	}
	r.space()
	if n := bytes.IndexByte(r.line, ' '); n == encodedSalt {
		e.kind = whole
		r.base64(e.salt[:])
		r.space()
		header = int(r.number())
	} else {
		e.kind = destroyed
		r.base64(e.bodyHash[:])
	}
	r.space()
	length := int(r.number())
	if len(r.line) > 0 {
		r.failed = true
	}
	if e.kind == whole {
		return header, length
	}
	return length, 0
}

const encodedSalt = (len(record.Salt{}) + 2) / 3 * 4

// cutLine makes the next line the one that is read.
func (r *entryReader) cutLine() {
	end := bytes.IndexByte(r.rest, '\n')
	if end < 0 {
		r.failed = true
		r.line, r.rest = r.rest, nil
		return
	}
	r.line, r.rest = r.rest[:end], r.rest[end+1:]
}

func (r *entryReader) space() {
	if len(r.line) == 0 || r.line[0] != ' ' {
		r.failed = true
		return
	}
	r.line = r.line[1:]
}

// number reads a number without leading zeros.
func (r *entryReader) number() uint64 {
	n := 0
	for n < len(r.line) && r.line[n] >= '0' && r.line[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(r.line[:n]), 10, 64)
	if err != nil || n > 1 && r.line[0] == '0' {
		r.failed = true
	}
	r.line = r.line[n:]
	return v
}

// base64 reads as much as fills into.
func (r *entryReader) base64(into []byte) {
	encoded := base64.StdEncoding.EncodedLen(len(into))
	var raw [48]byte
	if len(r.line) < encoded {
		r.failed = true
		return
	}
	n, err := strict.Decode(raw[:], r.line[:encoded])
	if err != nil || n != len(into) {
		r.failed = true
	}
	copy(into, raw[:])
	r.line = r.line[encoded:]
}

var strict = base64.StdEncoding.Strict()

// bytes reads n bytes and the newline behind them.
func (r *entryReader) bytes(n int) []byte {
	if n < 0 || n >= len(r.rest) || r.rest[n] != '\n' {
		r.failed = true
		return nil
	}
	found := r.rest[:n:n]
	r.rest = r.rest[n+1:]
	return found
}
