package kubernetes

import (
	"encoding/binary"
	"sync"
)

// The control frames of SPDY/3.1 (section 2.6).
const (
	spdySynStream    = 1
	spdySynReply     = 2
	spdyRstStream    = 3
	spdySettings     = 4
	spdyPing         = 6
	spdyGoAway       = 7
	spdyHeaders      = 8
	spdyWindowUpdate = 9
)

const (
	spdyVersion = 3
	spdyFin     = 1 // of data, SYN_STREAM and SYN_REPLY: the sender sends no more
	// spdyRefused is why a stream is reset (section 2.6.3): CANCEL.
	spdyRefused = 5
	// spdyControl is the longest control frame that is read. Kubernetes' have some
	// hundred bytes.
	spdyControl = 8 << 10
)

// spdy is one end of a SPDY connection as Kubernetes uses it: one peer opens
// streams, the other one takes them. Windows are neither kept nor waited for
// (section 2.6.8), because no server or client of Kubernetes says that it took
// something: what a peer does not take holds up the whole connection.
type spdy struct {
	client bool // we are, so that the peer opens no streams

	header  [8]byte
	have    int // bytes of header
	data    bool
	flags   byte
	stream  uint32 // that data is for
	rest    int    // of the frame that is still to come
	control []byte
	in      fieldReader

	mu      sync.Mutex
	last    uint32              // that the peer opened, or we did; guarded by mu
	sending map[uint32]struct{} // streams on which the peer may send; guarded by mu

	out   fieldWriter
	pings uint32
}

func newSPDY(client bool) *spdy { return &spdy{client: client, sending: map[uint32]struct{}{}} }

func (s *spdy) read(b []byte, to []happening) (_ []happening, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 && err == nil {
		if s.have < len(s.header) {
			n := copy(s.header[s.have:], b)
			s.have += n
			b = b[n:]
			if s.have == len(s.header) {
				to, err = s.begin(to)
			}
			continue
		}
		n := min(len(b), s.rest)
		s.rest -= n
		if s.data {
			to = s.came(b[:n], to)
		} else {
			s.control = append(s.control, b[:n]...)
		}
		b = b[n:]
		if s.rest == 0 {
			to, err = s.finish(to)
		}
	}
	return to, err
}

// begin reads the header of a frame (section 2.2).
func (s *spdy) begin(to []happening) ([]happening, error) {
	word := binary.BigEndian.Uint32(s.header[:])
	s.flags, s.rest = s.header[4], int(binary.BigEndian.Uint32(s.header[4:])&0xffffff)
	s.data, s.stream, s.control = word>>31 == 0, word, s.control[:0]
	switch {
	case !s.data && word>>16&0x7fff != spdyVersion:
		return to, broken("a frame of another version of SPDY")
	case !s.data && s.rest > spdyControl:
		return to, broken("a control frame of SPDY that is too long")
	case s.data && (s.stream == 0 || s.stream > s.last || s.stream&1 == 0):
		return to, broken("data of a SPDY stream that there is not")
	case s.data && s.flags&^spdyFin != 0:
		return to, broken("data of SPDY with flags that there are not")
	}
	if s.rest == 0 {
		return s.finish(to)
	}
	return to, nil
}

// came takes data. What belongs to a stream that is over was under way.
func (s *spdy) came(data []byte, to []happening) []happening {
	if _, open := s.sending[s.stream]; !open || len(data) == 0 {
		return to
	}
	return append(to, happening{kind: came, stream: s.stream, data: data})
}

// finish takes a frame that is whole.
func (s *spdy) finish(to []happening) ([]happening, error) {
	s.have = 0
	if !s.data {
		return s.controlled(int(binary.BigEndian.Uint16(s.header[2:])), to)
	}
	if s.flags&spdyFin != 0 {
		to = s.fin(s.stream, to)
	}
	return to, nil
}

// fin notes that the peer sends no more on a stream.
func (s *spdy) fin(stream uint32, to []happening) []happening {
	if _, open := s.sending[stream]; !open {
		return to
	}
	delete(s.sending, stream)
	return append(to, happening{kind: ended, stream: stream})
}

// controlled takes a control frame.
func (s *spdy) controlled(kind int, to []happening) ([]happening, error) {
	sizes := map[int]int{spdySynStream: 10, spdySynReply: 4, spdyRstStream: 8, spdySettings: 4, spdyPing: 4, spdyGoAway: 8, spdyWindowUpdate: 8}
	size, known := sizes[kind]
	exact := kind == spdyRstStream || kind == spdyPing || kind == spdyGoAway || kind == spdyWindowUpdate
	if !known || len(s.control) < size || exact && len(s.control) != size {
		return to, broken("a control frame of SPDY that is none")
	}
	number := binary.BigEndian.Uint32(s.control)
	switch kind {
	case spdySynStream:
		return s.opened(number, to)
	case spdySynReply:
		return s.replied(number, to)
	case spdyRstStream:
		if number == 0 || number > s.last {
			return to, broken("the reset of a SPDY stream that there is not")
		}
		delete(s.sending, number)
		return append(to, happening{kind: reset, stream: number}), nil
	case spdyPing:
		if (number&1 == 0) != s.client {
			return to, nil // an answer to ours
		}
		return append(to, happening{kind: pinged, data: append([]byte(nil), s.control...)}), nil
	case spdyGoAway:
		return append(to, happening{kind: left}), nil
	}
	return to, nil // settings and windows say nothing that is used
}

// opened takes SYN_STREAM (section 2.6.1).
func (s *spdy) opened(stream uint32, to []happening) ([]happening, error) {
	switch {
	case s.client:
		return to, broken("a SPDY stream that the server opened")
	case stream&1 == 0 || stream <= s.last || stream>>31 != 0:
		return to, broken("a SPDY stream out of order")
	case s.flags&^spdyFin != 0 || binary.BigEndian.Uint32(s.control[4:]) != 0:
		return to, broken("a SPDY stream that belongs to another or has one direction")
	}
	fields, err := s.in.read(s.control[10:])
	if err != nil {
		return to, broken(err.Error())
	}
	s.last = stream
	s.sending[stream] = struct{}{}
	to = append(to, happening{kind: opened, stream: stream, fields: fields})
	if s.flags&spdyFin != 0 {
		to = s.fin(stream, to)
	}
	return to, nil
}

// replied takes SYN_REPLY (section 2.6.2).
func (s *spdy) replied(stream uint32, to []happening) ([]happening, error) {
	if !s.client || stream == 0 || stream > s.last {
		return to, broken("an answer for a SPDY stream that there is not")
	}
	if _, err := s.in.read(s.control[4:]); err != nil {
		return to, broken(err.Error())
	}
	to = append(to, happening{kind: replied, stream: stream})
	if s.flags&spdyFin != 0 {
		to = s.fin(stream, to)
	}
	return to, nil
}
