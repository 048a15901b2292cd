package postgres

import (
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/mask"
)

// masker hides values. It needs no memory but what it appends to.
type masker struct {
	set *mask.Set
	key []byte
}

// appendValue appends the length and the bytes of a value as the client may
// see it, and says how many things in it were hidden.
func (m *masker) appendValue(dst []byte, f *field, value []byte) (out []byte, masked int64) {
	at := len(dst)
	dst = append(dst, 0xff, 0xff, 0xff, 0xff) // null, until there is a value
	out, masked, null := m.value(dst, f, value)
	if null {
		return out[:at+4], masked
	}
	binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	return out, masked
}

// value appends what the client may see of a value.
func (m *masker) value(dst []byte, f *field, value []byte) (out []byte, masked int64, null bool) {
	switch {
	case len(f.paths) > 0:
		return m.document(dst, f, value)
	case f.method != "":
		out, null = f.standIn(dst, m.key, value, f.method)
		return out, 1, null
	case len(m.set.Detect) > 0 && m.finds(dst, f, value):
		return m.clean(dst, f, value)
	}
	return append(dst, value...), 0, false
}

// document appends a value that holds JSON with what stands at paths hidden,
// in a column of whatever type. What is no JSON is hidden as a whole.
func (m *masker) document(dst []byte, f *field, value []byte) (out []byte, masked int64, null bool) {
	at := len(dst)
	text := value
	if f.typ == typeJSONB && f.binary {
		if len(value) == 0 || value[0] != 1 {
			return dst, 1, true
		}
		dst, text = append(dst, 1), value[1:]
	}
	if textual(f.typ) || f.typ == typeJSON || f.typ == typeJSONB {
		if out, n, ok := m.set.AppendJSON(dst, m.key, text, f.paths); ok {
			return out, int64(n), false
		}
	}
	out, null = f.standIn(dst[:at], m.key, value, mask.Redact)
	return out, 1, null
}

// finds reports whether a detector finds something in a value. room is memory
// to work in, behind its length.
func (m *masker) finds(room []byte, f *field, value []byte) bool {
	if _, _, by := m.set.Find(value); by != nil {
		return true
	}
	var found *mask.Detection
	switch {
	case f.typ == typeBytea && !f.binary:
		if decoded, ok := decodeBytea(room[len(room):], value); ok {
			_, _, found = m.set.Find(decoded)
		}
	case f.binary && (f.typ == typeInt8 || f.typ == typeNumeric):
		var digits [maxDigits]byte
		_, _, found = m.set.Find(f.numberText(&digits, value))
	}
	return found != nil
}

// clean appends a value in which a detector found something. Where the type
// does not let a part be replaced, all of it is.
func (m *masker) clean(dst []byte, f *field, value []byte) (out []byte, masked int64, null bool) {
	switch f.typ {
	case typeName, typeText, typeUnknown, typeBpchar, typeVarchar, typeXML:
		out, found, null := m.set.AppendClean(dst, m.key, value)
		return out, int64(found), null
	case typeJSON, typeJSONB:
		return m.cleanJSON(dst, f, value)
	}
	return dst, 1, true
}

func (m *masker) cleanJSON(dst []byte, f *field, value []byte) (out []byte, masked int64, null bool) {
	at := len(dst)
	if f.typ == typeJSONB && f.binary {
		if value[0] != 1 {
			return dst, 1, true
		}
		dst, value = append(dst, 1), value[1:]
	}
	out, found, ok := m.set.AppendJSON(dst, m.key, value, nil)
	if !ok || found == 0 {
		return dst[:at], 1, true
	}
	return out, int64(found), false
}
