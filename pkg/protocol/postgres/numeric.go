package postgres

import (
	"encoding/binary"
	"strconv"
)

// maxDigits is how many digits of a number are looked at: more than any that a
// detector knows.
const maxDigits = 40

// numberText writes an integer in binary format as digits into buf, so that
// detectors see what a client would print. It returns nil for what is none.
func (f *field) numberText(buf *[maxDigits]byte, value []byte) []byte {
	if f.typ != typeNumeric {
		n, ok := binaryInt(value)
		if !ok || n < 0 {
			return nil
		}
		return strconv.AppendInt(buf[:0], n, 10)
	}
	if len(value) < 8 {
		return nil
	}
	digits := int(binary.BigEndian.Uint16(value))
	weight := int(int16(binary.BigEndian.Uint16(value[2:])))
	if weight < 0 || weight > 8 || len(value) != 8+2*digits {
		return nil
	}
	out := buf[:0]
	for i := 0; i <= weight; i++ { // groups of four digits; trailing zeros are left out
		group := uint16(0)
		if i < digits {
			group = binary.BigEndian.Uint16(value[8+2*i:])
		}
		out = append(out, byte('0'+group/1000%10), byte('0'+group/100%10), byte('0'+group/10%10), byte('0'+group%10))
	}
	for len(out) > 1 && out[0] == '0' {
		out = out[1:]
	}
	return out
}
