package view

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// Types of columns whose values are not text in a binary row (field_types.h).
const (
	mysqlTiny, mysqlShort, mysqlLong, mysqlFloat, mysqlDouble, mysqlNull, mysqlTimestamp = 1, 2, 3, 4, 5, 6, 7
	mysqlLongLong, mysqlInt24, mysqlDate, mysqlTime, mysqlDateTime, mysqlYear            = 8, 9, 10, 11, 12, 13
)

// mysqlColumn is what of a column its values are read by.
type mysqlColumn struct {
	name     string
	typ      byte
	unsigned bool
}

// mysqlLines reads a server's packets: a length of three bytes in little-endian
// order, a sequence number, a payload (MySQL's documentation, "Client/Server
// Protocol").
func mysqlLines(in []byte) []Line {
	m := &mysqlReader{}
	for len(in) > 0 {
		if len(in) < 4 {
			return append(m.end(), gap(in))
		}
		size := int(in[0]) | int(in[1])<<8 | int(in[2])<<16
		if size == 0 || size+4 > len(in) {
			return append(m.end(), gap(in))
		}
		m.packet(in[4 : 4+size])
		in = in[4+size:]
	}
	return m.end()
}

// mysqlReader is how far a response has been read.
type mysqlReader struct {
	lines   []Line
	left    int // definitions that are still to come
	columns []mysqlColumn
	inRows  bool
	rows    [][]byte // of one result: all are text, or all are binary
}

func (m *mysqlReader) end() []Line {
	m.showRows()
	return m.lines
}

func (m *mysqlReader) packet(payload []byte) {
	r := reader{in: payload}
	first := payload[0]
	switch {
	case first == 0xff:
		m.showRows()
		m.inRows, m.left = false, 0
		m.lines = append(m.lines, mysqlError(payload))
	case first == 0xfe && len(payload) == 5:
		if m.inRows {
			m.showRows()
		}
		m.inRows = !m.inRows && m.left == 0 && len(m.columns) > 0
		if !m.inRows {
			m.columns = nil
		}
	case m.inRows:
		m.rows = append(m.rows, payload)
	case m.left > 0:
		m.left--
		m.column(&r)
	case first == 0 && len(payload) >= 7:
		r.take(1)
		m.lines = append(m.lines, Line{Kind: Tag, Text: "OK " + strconv.FormatUint(r.mysqlLength(), 10)})
	default:
		n := r.mysqlLength()
		if r.short || len(r.in) > 0 || n == 0 || n > 4096 {
			m.lines = append(m.lines, gap(payload))
			return
		}
		m.left, m.columns = int(n), nil
	}
}

func (m *mysqlReader) column(r *reader) {
	for range 4 {
		r.mysqlText()
	}
	c := mysqlColumn{name: string(r.mysqlText())}
	r.mysqlText()
	r.take(1 + 2 + 4)
	if typ := r.take(1); typ != nil {
		c.typ = typ[0]
	}
	if flags := r.take(2); flags != nil {
		c.unsigned = flags[0]&0x20 != 0
	}
	m.columns = append(m.columns, c)
	if m.left == 0 {
		head := Line{Kind: Head}
		for _, c := range m.columns {
			head.Cells = append(head.Cells, Cell{Text: Printable(c.name)})
		}
		m.lines = append(m.lines, head)
	}
}

// showRows shows what was collected. Nothing in a response says whether its
// rows are text or binary: they are what all of them can be read as.
func (m *mysqlReader) showRows() {
	read := m.textRow
	for _, row := range m.rows {
		if _, ok := m.textRow(row); !ok {
			read = m.binaryRow
			break
		}
	}
	for _, row := range m.rows {
		cells, ok := read(row)
		if !ok {
			m.lines = append(m.lines, gap(row))
			continue
		}
		m.lines = append(m.lines, Line{Kind: Row, Cells: cells})
	}
	m.rows = nil
}

func (m *mysqlReader) textRow(payload []byte) (cells []Cell, ok bool) {
	r := reader{in: payload}
	for range m.columns {
		if len(r.in) > 0 && r.in[0] == 0xfb {
			r.take(1)
			cells = append(cells, Cell{Null: true})
			continue
		}
		value := r.mysqlText()
		if r.short {
			return nil, false
		}
		cells = append(cells, Cell{Text: Printable(string(value))})
	}
	return cells, len(r.in) == 0
}

func (m *mysqlReader) binaryRow(payload []byte) (cells []Cell, ok bool) {
	r := reader{in: payload}
	r.take(1)
	nulls := r.take((len(m.columns) + 9) / 8)
	for i, c := range m.columns {
		if r.short {
			return nil, false
		}
		if nulls[(i+2)/8]>>((i+2)%8)&1 != 0 {
			cells = append(cells, Cell{Null: true})
			continue
		}
		cells = append(cells, Cell{Text: Printable(r.mysqlValue(c))})
	}
	return cells, !r.short && len(r.in) == 0
}

// mysqlValue reads a value of a binary row.
func (r *reader) mysqlValue(c mysqlColumn) string {
	size := 0
	switch c.typ {
	case mysqlTiny:
		size = 1
	case mysqlShort, mysqlYear:
		size = 2
	case mysqlLong, mysqlInt24, mysqlFloat:
		size = 4
	case mysqlLongLong, mysqlDouble:
		size = 8
	case mysqlDate, mysqlDateTime, mysqlTimestamp, mysqlTime:
		return mysqlMoment(r.mysqlText(), c.typ)
	case mysqlNull:
		return ""
	default:
		return string(r.mysqlText())
	}
	var wide [8]byte
	copy(wide[:], r.take(size))
	n := binary.LittleEndian.Uint64(wide[:])
	switch {
	case c.typ == mysqlFloat:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(n))), 'g', -1, 32)
	case c.typ == mysqlDouble:
		return strconv.FormatFloat(math.Float64frombits(n), 'g', -1, 64)
	case c.unsigned:
		return strconv.FormatUint(n, 10)
	}
	shift := 64 - 8*size
	return strconv.FormatInt(int64(n<<shift)>>shift, 10)
}

// mysqlMoment is a date or a time of a binary row.
func mysqlMoment(b []byte, typ byte) string {
	switch {
	case typ == mysqlTime && len(b) >= 8:
		sign := ""
		if b[0] != 0 {
			sign = "-"
		}
		return fmt.Sprintf("%s%d:%02d:%02d", sign, uint64(binary.LittleEndian.Uint32(b[1:]))*24+uint64(b[5]), b[6], b[7])
	case typ == mysqlTime:
		return "00:00:00"
	case len(b) >= 7:
		return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d", binary.LittleEndian.Uint16(b), b[2], b[3], b[4], b[5], b[6])
	case len(b) >= 4:
		return fmt.Sprintf("%04d-%02d-%02d", binary.LittleEndian.Uint16(b), b[2], b[3])
	}
	return "0000-00-00"
}

func mysqlError(payload []byte) Line {
	r := reader{in: payload}
	r.take(1)
	number := r.take(2)
	state := ""
	if len(r.in) >= 6 && r.in[0] == '#' {
		state = " (" + string(r.in[1:6]) + ")"
		r.take(6)
	}
	if r.short {
		return gap(payload)
	}
	return Line{Kind: Error, Text: Printable(fmt.Sprintf("ERROR %d%s: %s", binary.LittleEndian.Uint16(number), state, r.in))}
}

// mysqlLength reads a number that says its own size.
func (r *reader) mysqlLength() uint64 {
	first := r.take(1)
	if first == nil {
		return 0
	}
	size := 0
	switch first[0] {
	case 0xfb, 0xff:
		r.short = true
		return 0
	case 0xfc:
		size = 2
	case 0xfd:
		size = 3
	case 0xfe:
		size = 8
	default:
		return uint64(first[0])
	}
	var wide [8]byte
	copy(wide[:], r.take(size))
	return binary.LittleEndian.Uint64(wide[:])
}

// mysqlText reads a length and as many bytes.
func (r *reader) mysqlText() []byte {
	n := r.mysqlLength()
	if n > uint64(len(r.in)) {
		r.short = true
		return nil
	}
	return r.take(int(n))
}
