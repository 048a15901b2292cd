package mysql

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Types of columns and parameters (field_types.h).
const (
	typeTiny       = 1
	typeShort      = 2
	typeLong       = 3
	typeFloat      = 4
	typeDouble     = 5
	typeNull       = 6
	typeTimestamp  = 7
	typeLongLong   = 8
	typeInt24      = 9
	typeDate       = 10
	typeTime       = 11
	typeDateTime   = 12
	typeYear       = 13
	typeVarChar    = 15
	typeBit        = 16
	typeTimestamp2 = 17
	typeDateTime2  = 18
	typeTime2      = 19
	typeJSON       = 245
	typeNewDecimal = 246
	typeEnum       = 247
	typeSet        = 248
	typeTinyBlob   = 249
	typeMediumBlob = 250
	typeLongBlob   = 251
	typeBlob       = 252
	typeVarString  = 253
	typeString     = 254
	typeGeometry   = 255
)

// bind reads the parameters of a COM_STMT_EXECUTE: an id, flags, a count of
// runs, and where there are parameters which of them are NULL, whether their
// types follow, the types and the values.
func (o *op) bind(kept *statement, frame []byte) bool {
	r := reader{b: frame[headerSize+1:]}
	r.take(4 + 1 + 4)
	if kept.params == 0 {
		return !r.bad
	}
	nulls := r.take((kept.params + 7) / 8)
	if r.uint8() != 0 && !r.bad {
		kept.types = append(kept.types[:0], r.take(2*kept.params)...)
	}
	if r.bad || len(kept.types) != 2*kept.params {
		return false
	}
	o.params = make([]operation.Param, kept.params)
	long := kept.longValues()
	for i := range o.params {
		p := &o.params[i]
		typ := kept.types[2*i]
		p.Type = uint32(typ)
		switch value, sent := long[uint16(i)]; {
		case sent:
			p.Text = value
		case nulls[i/8]>>(i%8)&1 != 0 || typ == typeNull:
			p.Null = true
		default:
			mark := len(o.values)
			o.values = appendParam(o.values, &r, typ, kept.types[2*i+1]&0x80 != 0)
			p.Text = operation.Text(o.values[mark:len(o.values):len(o.values)])
		}
	}
	o.Operation.Params = o.params
	return r.done()
}

// longValues puts the pieces of long parameters together.
func (s *statement) longValues() map[uint16][]byte {
	if len(s.long) == 0 {
		return nil
	}
	all := map[uint16][]byte{}
	for b := s.long; len(b) > 0; {
		size, _ := header(b)
		param := binary.LittleEndian.Uint16(b[headerSize+5:])
		all[param] = append(all[param], b[headerSize+7:size]...)
		b = b[size:]
	}
	return all
}

// appendParam appends a parameter as text.
func appendParam(dst []byte, r *reader, typ byte, unsigned bool) []byte {
	switch typ {
	case typeTiny, typeShort, typeYear, typeLong, typeInt24, typeLongLong:
		return appendInteger(dst, r.take(integerSize(typ)), unsigned)
	case typeFloat:
		return strconv.AppendFloat(dst, float64(math.Float32frombits(r.uint32())), 'g', -1, 32)
	case typeDouble:
		if b := r.take(8); b != nil {
			return strconv.AppendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64)
		}
		return dst
	case typeDate, typeDateTime, typeTimestamp, typeTime, typeDateTime2, typeTimestamp2, typeTime2:
		return appendTemporal(dst, r.take(int(r.uint8())), typ)
	}
	return append(dst, r.text()...)
}

// integerSize is how many bytes an integer has in binary.
func integerSize(typ byte) int {
	switch typ {
	case typeTiny:
		return 1
	case typeShort, typeYear:
		return 2
	case typeLongLong:
		return 8
	}
	return 4
}

func appendInteger(dst, b []byte, unsigned bool) []byte {
	var value uint64
	for i := len(b) - 1; i >= 0; i-- {
		value = value<<8 | uint64(b[i])
	}
	if unsigned || len(b) == 0 {
		return strconv.AppendUint(dst, value, 10)
	}
	shift := 64 - 8*len(b)
	return strconv.AppendInt(dst, int64(value<<shift)>>shift, 10)
}

// appendTemporal appends a date or a time: 0, 4, 7, 8, 11 or 12 bytes.
func appendTemporal(dst, b []byte, typ byte) []byte {
	part := func(n uint64, width int) {
		for limit := uint64(10); width > 1; width, limit = width-1, limit*10 {
			if n < limit {
				dst = append(dst, '0')
			}
		}
		dst = strconv.AppendUint(dst, n, 10)
	}
	clock := func(b []byte) {
		part(uint64(b[0]), 2)
		dst = append(dst, ':')
		part(uint64(b[1]), 2)
		dst = append(dst, ':')
		part(uint64(b[2]), 2)
	}
	if typ == typeTime || typ == typeTime2 {
		if len(b) < 8 {
			return append(dst, "00:00:00"...)
		}
		if b[0] != 0 {
			dst = append(dst, '-')
		}
		part(uint64(binary.LittleEndian.Uint32(b[1:])), 1)
		dst = append(dst, "d "...)
		clock(b[5:])
		b = b[8:]
	} else {
		if len(b) < 4 {
			return append(dst, "0000-00-00"...)
		}
		part(uint64(binary.LittleEndian.Uint16(b)), 4)
		dst = append(dst, '-')
		part(uint64(b[2]), 2)
		dst = append(dst, '-')
		part(uint64(b[3]), 2)
		if b = b[4:]; len(b) >= 3 {
			dst = append(dst, ' ')
			clock(b)
			b = b[3:]
		}
	}
	if len(b) >= 4 {
		dst = append(dst, '.')
		part(uint64(binary.LittleEndian.Uint32(b)), 6)
	}
	return dst
}
