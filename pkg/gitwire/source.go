package gitwire

import (
	"errors"
	"io"
)

// source reads a stream without ever taking more of it than was asked for, as
// far as whoever sees the taken bytes can tell: what is read ahead waits in
// the buffer. It implements io.ByteReader, so that inflating stops at the
// exact end of an object.
type source struct {
	from     io.Reader
	buf      []byte
	pos, end int // buf[pos:end] is unread
	told     int // buf[:told] went to sink; only while there is one
	sink     func(taken []byte) error
}

// newSource returns a source over from. Its buffer holds any pkt-line.
func newSource(from io.Reader) *source {
	return &source{from: from, buf: make([]byte, 64<<10)}
}

// tell gives every byte that is taken from now on to sink, in order and in
// large pieces, until settle.
func (s *source) tell(sink func([]byte) error) {
	s.sink, s.told = sink, s.pos
}

// settle gives sink the rest of what was taken. With a nil sink nothing is
// told any more.
func (s *source) settle(next func([]byte) error) error {
	err := s.flush()
	s.sink, s.told = next, s.pos
	return err
}

func (s *source) flush() error {
	if s.sink == nil || s.told == s.pos {
		return nil
	}
	taken := s.buf[s.told:s.pos]
	s.told = s.pos
	return s.sink(taken)
}

// want makes at least n bytes unread; n fits the buffer. It returns io.EOF
// only where the stream ends before the first of them.
func (s *source) want(n int) error {
	if s.end-s.pos >= n {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.end = copy(s.buf, s.buf[s.pos:s.end])
	s.pos, s.told = 0, 0
	for idle := 0; s.end < n; {
		got, err := s.from.Read(s.buf[s.end:])
		s.end += got
		if s.end >= n {
			return nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) && s.end > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if idle++; got > 0 {
			idle = 0
		} else if idle > 100 {
			return io.ErrNoProgress
		}
	}
	return nil
}

// take returns the next n bytes, which last until the next call.
func (s *source) take(n int) ([]byte, error) {
	if err := s.want(n); err != nil {
		return nil, err
	}
	s.pos += n
	return s.buf[s.pos-n : s.pos], nil
}

// ReadByte implements io.ByteReader.
func (s *source) ReadByte() (byte, error) {
	if s.pos == s.end {
		if err := s.want(1); err != nil {
			return 0, err
		}
	}
	s.pos++
	return s.buf[s.pos-1], nil
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.want(1); err != nil {
		return 0, err
	}
	n := copy(p, s.buf[s.pos:s.end])
	s.pos += n
	return n, nil
}

// each gives all that comes, in pieces as large as they come, until the stream
// ends.
func (s *source) each(take func(chunk []byte) error) error {
	for {
		err := s.want(1)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		chunk := s.buf[s.pos:s.end]
		s.pos = s.end
		if err := take(chunk); err != nil {
			return err
		}
	}
}

// peek returns the next pkt-line without taking it.
func (s *source) peek() (packet, error) {
	p, err := s.packet()
	s.pos -= len(p.raw)
	return p, err
}

// packet takes the next pkt-line.
func (s *source) packet() (packet, error) {
	if err := s.want(packetHeader); err != nil {
		return packet{}, err
	}
	kind, size, err := packetSize(s.buf[s.pos:])
	if err != nil {
		return packet{}, err
	}
	raw, err := s.take(size)
	if err != nil {
		return packet{}, err
	}
	return packet{kind: kind, payload: raw[packetHeader:], raw: raw}, nil
}
