package mysql

import "github.com/sluicegate/sluice/pkg/mask"

// layout is the columns of a result and what masks make of each.
type layout struct {
	fields  []field
	changes bool // some value may have to be changed
}

// field is one column of a result. What it holds of its origin is the server's
// own word, which is true of a column of a base table and means little for
// anything else (README.md).
type field struct {
	schema   string // the database
	table    string // in the query, by its alias
	orgTable string
	name     string // in the result, by its alias
	orgName  string
	charset  uint16
	typ      byte

	method mask.Method  // empty: the value passes, but for what paths and detectors hide
	paths  []*mask.Path // what is hidden inside of the value
	mask   string
}

// binaryCharset is the character set of what is no text.
const binaryCharset = 63

// readField reads the payload of a column's definition, "Protocol::ColumnDefinition41".
func readField(payload []byte, defaults bool) (f field, ok bool) {
	r := reader{b: payload}
	r.text() // the catalog
	f.schema, f.table, f.orgTable = string(r.text()), string(r.text()), string(r.text())
	f.name, f.orgName = string(r.text()), string(r.text())
	fixed := r.length()
	f.charset = r.uint16()
	r.uint32() // the longest value
	f.typ = r.uint8()
	r.take(2 + 1 + 2) // flags, decimals, nothing
	if defaults && len(r.b) > 0 {
		r.cell()
	}
	return f, r.done() && fixed == 12
}

// textual reports whether any text is a value of a column's type.
func (f *field) textual() bool {
	switch f.typ {
	case typeVarChar, typeVarString, typeString, typeTinyBlob, typeMediumBlob, typeLongBlob, typeBlob, typeEnum, typeSet:
		return f.charset != binaryCharset
	}
	return false
}

// bytes reports whether a column's values are bytes of any sort.
func (f *field) bytes() bool {
	switch f.typ {
	case typeVarChar, typeVarString, typeString, typeTinyBlob, typeMediumBlob, typeLongBlob, typeBlob:
		return f.charset == binaryCharset
	}
	return false
}

// legible reports whether ASCII characters are one byte each in a column's
// character set: not in UCS-2, UTF-16 and UTF-32 (INFORMATION_SCHEMA.COLLATIONS).
// In these, MariaDB's collations without padding are 1024 higher, and those of
// UCA 14 begin at 2560.
func (f *field) legible() bool {
	if f.charset >= 2560 {
		return false
	}
	switch id := f.charset & 1023; {
	case f.charset >= 2048:
		return true
	case id == 35, id == 90, id >= 128 && id <= 151, id == 159, // UCS-2
		id >= 54 && id <= 56, id == 62, id >= 101 && id <= 124, // UTF-16
		id == 60, id == 61, id >= 160 && id <= 183: // UTF-32
		return false
	}
	return true
}
