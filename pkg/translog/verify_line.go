package translog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/record"
)

// readLine is a line of a records file as it was found.
type readLine struct {
	no   uint64 // that the line says, or that its place says when it cannot be read
	leaf record.Hash
	err  string // why the line is not what was exported; "" when it may be

	has        lineParts
	saltHeader record.Salt
	saltBody   record.Salt
	bodyHash   record.Hash
	header     []byte
	body       []byte
}

// lineParts says which fields of a line are there.
type lineParts uint8

const (
	hasSaltHeader lineParts = 1 << iota
	hasSaltBody
	hasBodyHash
	hasHeader
	hasBody
)

// The three kinds of line: whole, with its body destroyed, and hidden.
const (
	wholeLine    = hasSaltHeader | hasSaltBody | hasHeader | hasBody
	shreddedLine = hasSaltHeader | hasBodyHash | hasHeader
	hiddenLine   = lineParts(0)
)

// lineReader reads lines in the one form that encodeLine gives them, at a
// fraction of what encoding/json costs. Every other form is refused, so that no
// bit of a line can be changed without its meaning.
type lineReader struct {
	base64 *base64.Encoding
	rest   []byte
	failed bool
}

func newLineReader() *lineReader { return &lineReader{base64: base64.StdEncoding.Strict()} }

// read returns a line, and whether it is in its form.
func (r *lineReader) read(text []byte) (l readLine, ok bool) {
	r.rest, r.failed = text, false
	r.want(`{"no":`)
	l.no = r.number()
	r.want(`,"leaf":"`)
	r.hash(&l.leaf)
	if r.skip(`,"salt_header":"`) {
		l.has |= hasSaltHeader
		r.hash(&l.saltHeader)
	}
	if r.skip(`,"salt_body":"`) {
		l.has |= hasSaltBody
		r.hash(&l.saltBody)
	}
	if r.skip(`,"body_hash":"`) {
		l.has |= hasBodyHash
		r.hash(&l.bodyHash)
	}
	if r.skip(`,"header":"`) {
		l.has |= hasHeader
		l.header = r.text()
	}
	if r.skip(`,"body":"`) {
		l.has |= hasBody
		l.body = r.text()
	}
	r.want("}\n")
	return l, !r.failed && len(r.rest) == 0
}

func (r *lineReader) skip(s string) bool {
	if len(r.rest) < len(s) || string(r.rest[:len(s)]) != s {
		return false
	}
	r.rest = r.rest[len(s):]
	return true
}

func (r *lineReader) want(s string) {
	if !r.skip(s) {
		r.failed = true
	}
}

func (r *lineReader) number() uint64 {
	n := 0
	for n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(r.rest[:n]), 10, 64)
	if err != nil || n > 1 && r.rest[0] == '0' {
		r.failed = true
	}
	r.rest = r.rest[n:]
	return v
}

// hash reads a hash and the quotation mark behind it.
func (r *lineReader) hash(into *record.Hash) {
	const encoded = (len(*into) + 2) / 3 * 4
	var raw [encoded / 4 * 3]byte
	if len(r.rest) < encoded {
		r.failed = true
		return
	}
	n, err := r.base64.Decode(raw[:], r.rest[:encoded])
	if err != nil || n != len(into) {
		r.failed = true
	}
	copy(into[:], raw[:])
	r.rest = r.rest[encoded:]
	r.want(`"`)
}

// text reads a string and the quotation mark behind it, as encoding/json
// writes it without escaping HTML.
func (r *lineReader) text() []byte {
	end := bytes.IndexByte(r.rest, '"')
	if end > 0 && bytes.IndexByte(r.rest[:end], '\\') < 0 {
		return r.plain(end)
	}
	var out []byte
	for {
		n := bytes.IndexAny(r.rest, `"\`)
		if n < 0 {
			r.failed = true
			return nil
		}
		if out == nil {
			out = make([]byte, 0, len(r.rest))
		}
		out = append(out, r.plainPart(n)...)
		if r.rest[0] == '"' {
			r.rest = r.rest[1:]
			return out
		}
		if out = r.escape(out); r.failed {
			return nil
		}
	}
}

// plain reads n bytes without escapes and the quotation mark behind them.
func (r *lineReader) plain(n int) []byte {
	part := r.plainPart(n)
	r.rest = r.rest[1:]
	return part
}

// plainPart reads n bytes that need no escapes.
func (r *lineReader) plainPart(n int) []byte {
	part := r.rest[:n]
	ascii := true
	for _, c := range part {
		if c < 0x20 {
			r.failed = true
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && (!utf8.Valid(part) || bytes.Contains(part, []byte("\u2028")) || bytes.Contains(part, []byte("\u2029"))) {
		r.failed = true
	}
	r.rest = r.rest[n:]
	return part
}

// escape reads one escape in the form that encoding/json chooses for it.
func (r *lineReader) escape(out []byte) []byte {
	for _, e := range []struct {
		text string
		is   byte
	}{{`\"`, '"'}, {`\\`, '\\'}, {`\n`, '\n'}, {`\t`, '\t'}, {`\r`, '\r'}, {`\b`, '\b'}, {`\f`, '\f'}} {
		if r.skip(e.text) {
			return append(out, e.is)
		}
	}
	const size = len(`\u0000`)
	if len(r.rest) < size {
		r.failed = true
		return nil
	}
	text := r.rest[:size]
	var s string
	if json.Unmarshal([]byte(`"`+string(text)+`"`), &s) != nil {
		r.failed = true
		return nil
	}
	again, err := json.Marshal(s)
	if err != nil || string(again) != `"`+string(text)+`"` || s == "<" || s == ">" || s == "&" {
		r.failed = true
		return nil
	}
	r.rest = r.rest[size:]
	return append(out, s...)
}
