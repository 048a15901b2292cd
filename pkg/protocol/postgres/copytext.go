package postgres

import (
	"bytes"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

// copyForm is how a COPY in text or CSV writes values (the reference of COPY,
// "File Formats").
type copyForm struct {
	delimiter, quote, escape byte // quote: 0 in text
	null                     string
}

func formOf(sends *sqltext.CopyTo) copyForm {
	f := copyForm{delimiter: '\t', null: `\N`}
	if sends.Format == "csv" {
		f = copyForm{delimiter: ',', quote: '"'}
	}
	if sends.Delimiter != 0 {
		f.delimiter = sends.Delimiter
	}
	if sends.NullSet {
		f.null = sends.Null
	}
	if f.quote == 0 {
		return f
	}
	if sends.Quote != 0 {
		f.quote = sends.Quote
	}
	f.escape = f.quote
	if sends.Escape != 0 {
		f.escape = sends.Escape
	}
	return f
}

// textRow appends a row of text or CSV with its masked values replaced. A
// header passes.
func (c *copyOut) textRow(dst, row []byte, hides *masker, o *op) ([]byte, bool) {
	form := formOf(o.copies.sends)
	if !c.begun {
		c.begun = true
		if o.copies.sends.Header {
			return append(dst, row...), true
		}
	}
	row, ended := bytes.CutSuffix(row, []byte("\n"))
	if !ended {
		return dst, false
	}
	for i := range o.copies.fields {
		if i > 0 {
			if len(row) == 0 || row[0] != form.delimiter {
				return dst, false
			}
			dst, row = append(dst, form.delimiter), row[1:]
		}
		size := form.fieldEnd(row)
		dst = form.appendField(dst, row[:size], &o.copies.fields[i], hides, &o.Outcome.Masked)
		row = row[size:]
	}
	return append(dst, '\n'), len(row) == 0
}

// fieldEnd returns where the first field of a row ends.
func (f *copyForm) fieldEnd(row []byte) int {
	if f.quote == 0 {
		for i := 0; i < len(row); i++ {
			switch row[i] {
			case f.delimiter:
				return i
			case '\\':
				i++
			}
		}
		return len(row)
	}
	quoted := false
	for i := 0; i < len(row); i++ {
		switch c := row[i]; {
		case quoted && c == f.escape && i+1 < len(row) && (row[i+1] == f.quote || row[i+1] == f.escape):
			i++
		case c == f.quote:
			quoted = !quoted
		case c == f.delimiter && !quoted:
			return i
		}
	}
	return len(row)
}

// appendField appends a field as the client may see it.
func (f *copyForm) appendField(dst, raw []byte, of *field, hides *masker, masked *int64) []byte {
	if string(raw) == f.null || of.method == "" && len(of.paths) == 0 && len(hides.set.Detect) == 0 {
		return append(dst, raw...)
	}
	// The value is worked on behind the row, and removed again.
	at := len(dst)
	dst = f.appendPlain(dst, raw)
	plain := len(dst)
	out, n, null := hides.value(dst, of, dst[at:plain])
	*masked += n
	if n == 0 {
		return append(out[:at], raw...)
	}
	if null {
		return append(out[:at], f.null...)
	}
	value := len(out)
	out = f.appendWritten(out, out[plain:value])
	return out[:at+copy(out[at:], out[value:])]
}

// unescaped are the letters behind a backslash in text that mean a byte.
var unescaped = [256]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// appendPlain appends the value that a field writes.
func (f *copyForm) appendPlain(dst, raw []byte) []byte {
	if f.quote != 0 {
		if len(raw) < 2 || raw[0] != f.quote {
			return append(dst, raw...)
		}
		raw = raw[1 : len(raw)-1]
		for i := 0; i < len(raw); i++ {
			if raw[i] == f.escape && i+1 < len(raw) && (raw[i+1] == f.quote || raw[i+1] == f.escape) {
				i++
			}
			dst = append(dst, raw[i])
		}
		return dst
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '\\' && i+1 < len(raw) {
			i++
			if c = unescaped[raw[i]]; c == 0 {
				c = raw[i]
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// appendWritten appends a value as a field. In CSV it is always quoted.
func (f *copyForm) appendWritten(dst, value []byte) []byte {
	if f.quote != 0 {
		dst = append(dst, f.quote)
		for _, c := range value {
			if c == f.quote || c == f.escape {
				dst = append(dst, f.escape)
			}
			dst = append(dst, c)
		}
		return append(dst, f.quote)
	}
	for _, c := range value {
		switch {
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\\' || c == f.delimiter:
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
