package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/pkg/mask"
)

// Object identifiers of types (pg_type.dat). The server sends a domain's base
// type.
const (
	typeBytea   = 17
	typeName    = 19
	typeInt8    = 20
	typeInt4    = 23
	typeText    = 25
	typeJSON    = 114
	typeXML     = 142
	typeUnknown = 705
	typeBpchar  = 1042
	typeVarchar = 1043
	typeNumeric = 1700
	typeUUID    = 2950
	typeJSONB   = 3802
)

// arrays are the array types that we know an empty value of.
var arrays = [...]uint32{
	199, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1115, 1182, 1183, 1185, 1231, 2951, 3807,
}

// textual reports whether any text is a value of a type, and is the same in
// binary format.
func textual(typ uint32) bool {
	switch typ {
	case typeName, typeText, typeUnknown, typeBpchar, typeVarchar:
		return true
	}
	return false
}

// standIn appends what a method makes of a value, as a value of the same type
// in the same format. Where the type has nothing that tells a reader that it
// is not the value (numbers, dates, booleans), it is null.
//
//	type                    redact        hash              partial
//	text and the like       [redacted]    32 digits         the last characters
//	json, jsonb             "[redacted]"  "32 digits"       as redact; of a string its last characters
//	uuid                    zeros         a UUID            as redact
//	int4, int8              null          a number ≥ 0      null
//	bytea                   [redacted]    16 bytes          as redact
//	arrays                  {}            null              {}
//	all others              null          null              null
//
// Equal values have equal hashes in both formats.
func (f *field) standIn(dst, key, value []byte, method mask.Method) (out []byte, null bool) {
	if method == mask.Null {
		return dst, true
	}
	switch {
	case textual(f.typ):
		return method.Apply(dst, key, value)
	case f.typ == typeJSON:
		return method.AppendJSON(dst, key, value), false
	case f.typ == typeJSONB:
		return f.jsonbStandIn(dst, key, value, method)
	case f.typ == typeUUID:
		return f.uuidStandIn(dst, key, value, method)
	case f.typ == typeBytea:
		return f.byteaStandIn(dst, key, value, method)
	case (f.typ == typeInt4 || f.typ == typeInt8) && method == mask.Hash:
		return f.intStandIn(dst, key, value)
	case slices.Contains(arrays[:], f.typ) && method != mask.Hash:
		return f.emptyArray(dst, value)
	}
	return dst, true
}

// jsonbStandIn: in binary format a version, which is 1, stands before the text.
func (f *field) jsonbStandIn(dst, key, value []byte, method mask.Method) ([]byte, bool) {
	if f.binary {
		if len(value) == 0 || value[0] != 1 {
			return dst, true
		}
		dst, value = append(dst, 1), value[1:]
	}
	return method.AppendJSON(dst, key, value), false
}

func (f *field) uuidStandIn(dst, key, value []byte, method mask.Method) ([]byte, bool) {
	var sum [16]byte
	if method == mask.Hash {
		var text [36]byte
		if f.binary {
			if len(value) != len(sum) {
				return dst, true
			}
			writeUUID(text[:], value)
			value = text[:]
		}
		if !digest(sum[:], dst, key, value) {
			return dst, true
		}
		sum[6] = sum[6]&0x0f | 0x80 // version 8 (RFC 9562)
		sum[8] = sum[8]&0x3f | 0x80
	}
	if f.binary {
		return append(dst, sum[:]...), false
	}
	var text [36]byte
	writeUUID(text[:], sum[:])
	return append(dst, text[:]...), false
}

func writeUUID(text, id []byte) {
	hex.Encode(text, id[:4])
	hex.Encode(text[9:], id[4:6])
	hex.Encode(text[14:], id[6:8])
	hex.Encode(text[19:], id[8:10])
	hex.Encode(text[24:], id[10:16])
	for _, i := range [...]int{8, 13, 18, 23} {
		text[i] = '-'
	}
}

// digest fills sum with the hash of a value; room is memory to work in.
func digest(sum, room, key, value []byte) bool {
	digits, null := mask.Hash.Apply(room[len(room):], key, value)
	if null || len(digits) < 2*len(sum) || len(key) == 0 {
		return false
	}
	_, err := hex.Decode(sum, digits[:2*len(sum)])
	return err == nil
}

func (f *field) byteaStandIn(dst, key, value []byte, method mask.Method) ([]byte, bool) {
	mark := len(dst)
	if method != mask.Hash {
		dst, _ = mask.Redact.Apply(dst, nil, nil)
		return f.encodeBytea(dst, mark), false
	}
	if !f.binary {
		var ok bool
		if dst, ok = decodeBytea(dst, value); !ok {
			return dst[:mark], true
		}
		value = dst[mark:]
	}
	var sum [16]byte
	if !digest(sum[:], dst, key, value) {
		return dst[:mark], true
	}
	return f.encodeBytea(append(dst[:mark], sum[:]...), mark), false
}

// encodeBytea writes the bytes from mark on as the field's format has them.
func (f *field) encodeBytea(dst []byte, mark int) []byte {
	if f.binary {
		return dst
	}
	var raw [16]byte
	n := copy(raw[:], dst[mark:])
	return hex.AppendEncode(append(dst[:mark], `\x`...), raw[:n])
}

// decodeBytea appends the bytes of a value in hex format. bytea_output can also
// be escape, which nothing is read from.
func decodeBytea(dst, value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '\\' || value[1] != 'x' {
		return dst, false
	}
	out, err := hex.AppendDecode(dst, value[2:])
	return out, err == nil
}

func (f *field) intStandIn(dst, key, value []byte) ([]byte, bool) {
	var text [20]byte
	if f.binary {
		n, ok := binaryInt(value)
		if !ok {
			return dst, true
		}
		value = strconv.AppendInt(text[:0], n, 10)
	}
	var sum [8]byte
	if !digest(sum[:], dst, key, value) {
		return dst, true
	}
	n := binary.BigEndian.Uint64(sum[:])
	switch {
	case f.typ == typeInt4 && f.binary:
		return binary.BigEndian.AppendUint32(dst, uint32(n)&math.MaxInt32), false
	case f.typ == typeInt4:
		return strconv.AppendUint(dst, n&math.MaxInt32, 10), false
	case f.binary:
		return binary.BigEndian.AppendUint64(dst, n&math.MaxInt64), false
	}
	return strconv.AppendUint(dst, n&math.MaxInt64, 10), false
}

func binaryInt(value []byte) (int64, bool) {
	switch len(value) {
	case 4:
		return int64(int32(binary.BigEndian.Uint32(value))), true
	case 8:
		return int64(binary.BigEndian.Uint64(value)), true
	}
	return 0, false
}

// emptyArray is an array without elements. In binary format the number of
// dimensions and a flag stand before the type of the elements.
func (f *field) emptyArray(dst, value []byte) ([]byte, bool) {
	if !f.binary {
		return append(dst, "{}"...), false
	}
	if len(value) < 12 {
		return dst, true
	}
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(dst, value[8:12]...), false
}
