package gitwire

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"io"
)

// inflater reads entries again from where a pack is kept.
type inflater struct {
	store *store
	in    *bufio.Reader
	zlib  io.ReadCloser // reused
	buf   []byte
}

// inflate returns the data of an entry, which has that size.
func (i *inflater) inflate(at, size int64) ([]byte, bool) {
	raw := io.NewSectionReader(i.store, at, i.store.size-at)
	var err error
	if i.zlib == nil {
		i.in, i.buf = bufio.NewReaderSize(raw, 4<<10), make([]byte, 4<<10)
		i.zlib, err = zlib.NewReader(i.in)
	} else {
		i.in.Reset(raw)
		err = i.zlib.(zlib.Resetter).Reset(i.in, nil)
	}
	if err != nil {
		i.zlib = nil
		return nil, false
	}
	data := bytes.NewBuffer(make([]byte, 0, size))
	err = inflateExactly(data, i.zlib, size, i.buf)
	return data.Bytes(), err == nil
}
