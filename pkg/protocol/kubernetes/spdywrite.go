package kubernetes

import "encoding/binary"

// appendControl appends the header of a control frame without flags.
func appendControl(dst []byte, kind uint16, length int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 1<<15|spdyVersion)
	dst = binary.BigEndian.AppendUint16(dst, kind)
	return binary.BigEndian.AppendUint32(dst, uint32(length))
}

func (s *spdy) accept(dst []byte, stream uint32) []byte {
	block := s.out.append(nil, nil)
	dst = appendControl(dst, spdySynReply, 4+len(block))
	return append(binary.BigEndian.AppendUint32(dst, stream), block...)
}

func (s *spdy) open(dst []byte, stream uint32, fields map[string]string) []byte {
	s.mu.Lock()
	s.last = max(s.last, stream)
	s.sending[stream] = struct{}{}
	s.mu.Unlock()
	block := s.out.append(nil, fields)
	dst = appendControl(dst, spdySynStream, 10+len(block))
	dst = binary.BigEndian.AppendUint32(dst, stream)
	dst = append(dst, 0, 0, 0, 0, 0, 0) // of no other stream, of no priority
	return append(dst, block...)
}

func (s *spdy) chunk(dst []byte, stream uint32, data []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(data))), data...)
}

func (s *spdy) end(dst []byte, stream uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return binary.BigEndian.AppendUint32(dst, spdyFin<<24)
}

func (s *spdy) reset(dst []byte, stream uint32) []byte {
	s.mu.Lock()
	delete(s.sending, stream) // what is under way is nobody's
	s.mu.Unlock()
	dst = binary.BigEndian.AppendUint32(appendControl(dst, spdyRstStream, 8), stream)
	return binary.BigEndian.AppendUint32(dst, spdyRefused)
}

// pong sends a ping back as it came (section 2.6.5).
func (s *spdy) pong(dst, ping []byte) []byte {
	return append(appendControl(dst, spdyPing, len(ping)), ping...)
}

// ping sends one of our own. A client's are odd.
func (s *spdy) ping(dst []byte) []byte {
	s.pings += 2
	number := s.pings & 0xffff
	if s.client {
		number |= 1
	}
	return binary.BigEndian.AppendUint32(appendControl(dst, spdyPing, 4), number)
}

// bye says nothing: after GOAWAY a client opens no more streams, not even those
// on which it would hear why.
func (s *spdy) bye(dst []byte) []byte { return dst }
