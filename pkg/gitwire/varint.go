package gitwire

import "io"

// entryHeader reads the type and size of an entry: three bits of type, four of
// size, then seven at a time, the least significant first (gitformat-pack(5),
// "pack entries").
func entryHeader(from io.ByteReader) (objectKind, int64, error) {
	c, err := from.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	kind, size := objectKind(c>>4&7), int64(c&15)
	if kind == 0 || kind == 5 {
		return 0, 0, packFault("has an object of an unknown type")
	}
	if c&0x80 == 0 {
		return kind, size, nil
	}
	more, err := varint(from, 4)
	return kind, size | more, err
}

// varint reads a size from bit shift on.
func varint(from io.ByteReader, shift uint) (int64, error) {
	var n int64
	for {
		c, err := from.ReadByte()
		if err != nil {
			return 0, err
		}
		bits := int64(c & 0x7f)
		if shift > 56 || bits<<shift>>shift != bits {
			return 0, packFault("has an impossible size")
		}
		n |= bits << shift
		if c&0x80 == 0 {
			return n, nil
		}
		shift += 7
	}
}

// offset reads how far back the base of a delta is: seven bits at a time, the
// most significant first, each but the last increased by one.
func offset(from io.ByteReader) (int64, error) {
	var n int64
	for range 9 {
		c, err := from.ReadByte()
		if err != nil {
			return 0, err
		}
		n = n<<7 | int64(c&0x7f)
		if c&0x80 == 0 {
			return n, nil
		}
		n++
	}
	return 0, packFault("has an impossible offset")
}
