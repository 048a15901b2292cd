package view

import (
	"bytes"
	"encoding/binary"
)

// Line is one thing that a server said, ready to be shown: a table's head, a
// row, a notice, an error, or how a statement ended.
type Line struct {
	Kind  LineKind `json:"kind"`
	Cells []Cell   `json:"cells,omitempty"` // Head and Row
	Text  string   `json:"text,omitempty"`  // all others
}

// LineKind says what a line is.
type LineKind string

// The kinds of line.
const (
	Head   LineKind = "head"
	Row    LineKind = "row"
	Notice LineKind = "notice"
	Error  LineKind = "error"
	Tag    LineKind = "tag"  // a statement's end, e.g. "SELECT 2"
	Stream LineKind = "data" // bytes of a stream, e.g. COPY
	Gap    LineKind = "gap"  // what follows could not be read
)

// Cell is one value. Null tells NULL from the empty string.
type Cell struct {
	Text string `json:"text"`
	Null bool   `json:"null,omitempty"`
}

// Transcript reads a recorded response of the named protocol. What it cannot
// read becomes one Gap line; it never fails and never invents.
func Transcript(protocol string, response []byte) []Line {
	if protocol == "postgres" {
		return postgresLines(response)
	}
	if protocol == "mysql" {
		return mysqlLines(response)
	}
	if len(response) == 0 {
		return nil
	}
	return []Line{{Kind: Stream, Text: Printable(string(response))}}
}

// Words returns the text of a recorded response for a search index.
func Words(protocol string, response []byte) string {
	return string(AppendWords(nil, protocol, response))
}

// AppendWords appends Words to dst. Rows of a database, which are most of what is
// recorded, are read where they stand.
func AppendWords(dst []byte, protocol string, response []byte) []byte {
	if protocol == "postgres" {
		if all, ok := appendRows(dst, response); ok {
			return all
		}
	}
	for _, line := range Transcript(protocol, response) {
		for _, cell := range line.Cells {
			dst = append(append(dst, cell.Text...), ' ')
		}
		dst = append(append(dst, line.Text...), '\n')
	}
	return dst
}

// appendRows reads what consists of heads, rows and ends of statements that are
// all ASCII, and of nothing else that is shown.
func appendRows(dst, in []byte) ([]byte, bool) {
	for len(in) > 0 {
		if len(in) < 5 {
			return nil, false
		}
		kind, length := in[0], binary.BigEndian.Uint32(in[1:5])
		if length < 4 || uint64(length)+1 > uint64(len(in)) {
			return nil, false
		}
		payload := in[5 : 1+length]
		in = in[1+length:]
		ok := true
		switch kind {
		case 'T':
			dst, ok = appendHead(dst, payload)
		case 'D':
			dst, ok = appendRow(dst, payload)
		case 'C':
			end := bytes.IndexByte(payload, 0)
			if ok = end >= 0 && clean(payload[:end]); ok {
				dst = append(append(dst, payload[:end]...), '\n')
			}
		case 'E', 'N', 'd':
			return nil, false
		}
		if !ok {
			return nil, false
		}
	}
	return dst, true
}

func appendHead(dst, in []byte) ([]byte, bool) {
	r := reader{in: in}
	for n := r.int16(); n > 0; n-- {
		end := bytes.IndexByte(r.in, 0)
		if end < 0 || !clean(r.in[:end]) {
			return nil, false
		}
		dst = append(append(dst, r.in[:end]...), ' ')
		r.take(end + 1 + columnFacts)
		if r.short {
			return nil, false
		}
	}
	return append(dst, '\n'), !r.short
}

// columnFacts is what follows a column's name: table, attribute, type, size,
// modifier and format.
const columnFacts = 18

func appendRow(dst, in []byte) ([]byte, bool) {
	r := reader{in: in}
	for n := r.int16(); n > 0 && !r.short; n-- {
		length := r.take(4)
		if length == nil {
			return nil, false
		}
		if size := int32(binary.BigEndian.Uint32(length)); size != -1 {
			value := r.take(int(size))
			if r.short || !clean(value) {
				return nil, false
			}
			dst = append(dst, value...)
		}
		dst = append(dst, ' ')
	}
	return append(dst, '\n'), !r.short
}

// postgresLines reads backend messages: a type byte, a big-endian length that
// counts itself, a payload (PostgreSQL manual, "Message Formats").
func postgresLines(in []byte) []Line {
	var lines []Line
	for len(in) > 0 {
		if len(in) < 5 {
			return append(lines, gap(in))
		}
		kind, length := in[0], binary.BigEndian.Uint32(in[1:5])
		if length < 4 || uint64(length)+1 > uint64(len(in)) {
			return append(lines, gap(in))
		}
		payload := in[5 : 1+length]
		in = in[1+length:]
		if line, ok := postgresLine(kind, payload); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

func postgresLine(kind byte, payload []byte) (Line, bool) {
	r := reader{in: payload}
	var line Line
	switch kind {
	case 'T':
		line = Line{Kind: Head, Cells: r.columns()}
	case 'D':
		line = Line{Kind: Row, Cells: r.values()}
	case 'C':
		line = Line{Kind: Tag, Text: r.text()}
	case 'E':
		line = Line{Kind: Error, Text: r.fields()}
	case 'N':
		line = Line{Kind: Notice, Text: r.fields()}
	case 'd':
		return Line{Kind: Stream, Text: Printable(string(payload))}, true
	default:
		return Line{}, false
	}
	if r.short {
		return gap(payload), true
	}
	return line, true
}

func gap(rest []byte) Line {
	return Line{Kind: Gap, Text: Printable(string(rest))}
}

// reader takes values off a payload. After the first that does not fit, short
// is set and all others are zero.
type reader struct {
	in    []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || n < 0 || n > len(r.in) {
		r.short = true
		return nil
	}
	out := r.in[:n]
	r.in = r.in[n:]
	return out
}

func (r *reader) int16() int {
	if b := r.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) text() string {
	for i, c := range r.in {
		if c == 0 {
			out := Printable(string(r.in[:i]))
			r.in = r.in[i+1:]
			return out
		}
	}
	r.short = true
	return ""
}

func (r *reader) columns() []Cell {
	var cells []Cell
	for n := r.int16(); n > 0 && !r.short; n-- {
		cells = append(cells, Cell{Text: r.text()})
		r.take(columnFacts)
	}
	return cells
}

func (r *reader) values() []Cell {
	var cells []Cell
	for n := r.int16(); n > 0 && !r.short; n-- {
		length := int32(0)
		if b := r.take(4); b != nil {
			length = int32(binary.BigEndian.Uint32(b))
		}
		if length == -1 {
			cells = append(cells, Cell{Null: true})
			continue
		}
		cells = append(cells, Cell{Text: Printable(string(r.take(int(length))))})
	}
	return cells
}

// fields reads an ErrorResponse or NoticeResponse as psql would print it.
func (r *reader) fields() string {
	values := map[byte]string{}
	for !r.short {
		key := r.take(1)
		if key == nil || key[0] == 0 {
			break
		}
		values[key[0]] = r.text()
	}
	out := values['S'] + ": " + values['M']
	if code := values['C']; code != "" && code != "00000" {
		out += " (" + code + ")"
	}
	if detail := values['D']; detail != "" {
		out += "\nDETAIL: " + detail
	}
	if hint := values['H']; hint != "" {
		out += "\nHINT: " + hint
	}
	return out
}
