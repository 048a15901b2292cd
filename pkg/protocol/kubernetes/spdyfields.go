package kubernetes

import (
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// What a block of fields may hold. Kubernetes sends three short ones.
const (
	maxFields = 16
	maxName   = 64
	maxValue  = 1 << 10
	// maxUnread is how much of a block may lie behind its last field: the end of
	// its last part, as zlib flushes it.
	maxUnread = 64
)

// fieldReader reads blocks of fields (SPDY/3, section 2.6.10), which share one
// zlib stream. Only as much is decompressed as fields need and may have.
type fieldReader struct {
	source  blockSource
	inflate io.Reader // nil before the first block
}

// blockSource gives zlib the blocks, one after the other.
type blockSource struct{ unread []byte }

// Read implements io.Reader.
func (s *blockSource) Read(b []byte) (int, error) {
	if len(s.unread) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(b, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

// ReadByte implements io.ByteReader, so that nobody reads ahead.
func (s *blockSource) ReadByte() (byte, error) {
	var one [1]byte
	_, err := s.Read(one[:])
	return one[0], err
}

var errFields = errors.New("fields of a SPDY stream that cannot be read")

// read reads one block. After an error there is no other one.
func (r *fieldReader) read(block []byte) (map[string]string, error) {
	r.source.unread = append(append([]byte(nil), r.source.unread...), block...)
	if r.inflate == nil {
		inflate, err := zlib.NewReaderDict(&r.source, []byte(spdyDictionary))
		if err != nil {
			return nil, errFields
		}
		r.inflate = inflate
	}
	count, err := r.number(maxFields)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string, count)
	for range count {
		name, err := r.text(maxName)
		if err != nil {
			return nil, err
		}
		value, err := r.text(maxValue)
		if err != nil {
			return nil, err
		}
		if _, twice := fields[name]; twice || name == "" || strings.ToLower(name) != name || strings.Contains(value, "\x00") {
			return nil, errFields
		}
		fields[name] = value
	}
	if len(r.source.unread) > maxUnread {
		return nil, errFields
	}
	return fields, nil
}

func (r *fieldReader) number(most uint32) (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(r.inflate, b[:]); err != nil {
		return 0, errFields
	}
	n := binary.BigEndian.Uint32(b[:])
	if n > most {
		return 0, errFields
	}
	return n, nil
}

func (r *fieldReader) text(most uint32) (string, error) {
	n, err := r.number(most)
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.inflate, b); err != nil {
		return "", errFields
	}
	return string(b), nil
}

// fieldWriter writes blocks of fields into one zlib stream, in which nothing is
// compressed: what Kubernetes says is short, and a compressor has most of a
// megabyte of memory.
type fieldWriter struct{ begun bool }

// append appends a block. Fields are few and short.
func (w *fieldWriter) append(dst []byte, fields map[string]string) []byte {
	if !w.begun {
		w.begun = true
		dst = append(dst, 0x78, 0xbb) // RFC 1950, section 2.2: deflate, 32 KiB, a dictionary
		dst = binary.BigEndian.AppendUint32(dst, spdyDictionarySum)
	}
	block := binary.BigEndian.AppendUint32(nil, uint32(len(fields)))
	for name, value := range fields {
		for _, text := range []string{strings.ToLower(name), value} {
			block = binary.BigEndian.AppendUint32(block, uint32(len(text)))
			block = append(block, text...)
		}
	}
	dst = appendStored(dst, block)
	return appendStored(dst, nil) // as zlib flushes
}

// appendStored appends a block of deflate as it is (RFC 1951, section 3.2.4).
func appendStored(dst, block []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(append(dst, 0), uint16(len(block)))
	dst = binary.LittleEndian.AppendUint16(dst, ^uint16(len(block)))
	return append(dst, block...)
}
