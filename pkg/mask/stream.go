package mask

import "bytes"

const (
	// window bounds what a stream keeps back, in bytes.
	window = 16 << 10
	// overlap is what of a window that is too long stays, for a secret that
	// begins in it.
	overlap = 2 << 10
	// behind is how much of what has left still tells whether something stands
	// alone: the two bytes before it.
	behind = 2
)

// Stream hides secrets in a stream of bytes that comes in any pieces: what it
// lets go is the same for all of them, as long as Release is not called. It
// keeps back what may be the beginning of a secret, at most 16 KiB; of a secret
// that is longer it hides all. It does nothing by itself and is not safe for
// concurrent use.
type Stream struct {
	set      *Set
	key      []byte
	held     []byte // the last bytes that left, then those that did not
	left     int    // how many of held have left
	swallow  swallowing
	armoured []byte // the end of what was swallowed, where armour's end may begin
}

// swallowing says what is dropped because a secret that has been hidden
// already goes on.
type swallowing uint8

const (
	nothing swallowing = iota
	token              // until something that is no part of one
	armour             // until its end
)

// NewStream returns a stream that hides what the set's detectors find.
func NewStream(set *Set, key []byte) *Stream { return &Stream{set: set, key: key} }

// Write takes a piece and appends to dst what may leave. It says how many
// secrets it hid.
func (s *Stream) Write(dst, piece []byte) (out []byte, hidden int) {
	piece = s.dropped(piece)
	if len(piece) == 0 {
		return dst, 0
	}
	s.held = append(s.held, piece...)
	dst, hidden = s.pass(dst, false)
	if len(s.held)-s.left <= window {
		return dst, hidden
	}
	dst, more := s.hideOpen(dst)
	if keep := overlap; len(s.held)-s.left > keep {
		dst = s.let(dst, len(s.held)-keep)
	}
	return dst, hidden + more
}

// Release appends what was kept back, because nothing may follow for long: a
// secret that is whole so far is hidden, also what follows of it later. One of
// which only the beginning came, but for a private key, is not recognised.
func (s *Stream) Release(dst []byte) (out []byte, hidden int) {
	dst, hidden = s.hideOpen(dst)
	return s.let(dst, len(s.held)), hidden
}

// Close appends what was kept back at the end of the stream.
func (s *Stream) Close(dst []byte) (out []byte, hidden int) {
	dst, hidden = s.pass(dst, true)
	return s.let(dst, len(s.held)), hidden
}

// pass hides what is whole and lets go of what cannot be part of a secret.
func (s *Stream) pass(dst []byte, last bool) (out []byte, hidden int) {
	for {
		open := len(s.held)
		if !last {
			open = s.set.open(s.held)
		}
		start, end, by := s.set.Find(s.held)
		if by == nil || open <= start || end == len(s.held) && !last {
			if by != nil {
				open = min(open, start)
			}
			return s.let(dst, open), hidden
		}
		dst = s.hide(dst, start, end, by)
		hidden++
	}
}

// hideOpen hides a secret that reaches the end of what was kept back, and will
// drop what follows of it.
func (s *Stream) hideOpen(dst []byte) (out []byte, hidden int) {
	for {
		start, end, by := s.set.Find(s.held)
		if by == nil {
			return dst, hidden
		}
		if end == len(s.held) {
			s.swallow = token
			if by.Detector == PrivateKey && !bytes.HasSuffix(s.held, dashes) {
				s.swallow, s.armoured = armour, bytes.Clone(s.held[max(start, end-len(armourEnd)-maxLabel):])
			}
		}
		dst = s.hide(dst, start, end, by)
		hidden++
	}
}

// hide lets go of what is before a secret and puts what hides it in its place.
func (s *Stream) hide(dst []byte, start, end int, by *Detection) []byte {
	dst = append(dst, s.held[s.left:max(s.left, start)]...)
	dst, _ = by.Method.Apply(dst, s.key, s.held[start:end])
	s.held, s.left = append(s.held[:0], s.held[end:]...), 0 // what follows stands alone, as in AppendClean
	return dst
}

// let lets go of what is before the position.
func (s *Stream) let(dst []byte, to int) []byte {
	if to <= s.left {
		return dst
	}
	dst = append(dst, s.held[s.left:to]...)
	from := max(0, to-behind)
	s.held, s.left = append(s.held[:0], s.held[from:]...), to-from
	return dst
}

// dropped takes away what belongs to a secret that was hidden before its end.
func (s *Stream) dropped(piece []byte) []byte {
	switch s.swallow {
	case token:
		n := run(piece, 0, func(c byte) bool { return tokenByte(c) || c == '.' })
		if n < len(piece) {
			s.swallow = nothing
		}
		return piece[n:]
	case armour:
		return s.dropArmour(piece)
	}
	return piece
}

// maxLabel is how long an armour's label may be, as findPrivateKey has it.
const maxLabel = 64

func (s *Stream) dropArmour(piece []byte) []byte {
	s.armoured = append(s.armoured, piece...)
	if last := bytes.Index(s.armoured, armourEnd); last >= 0 {
		body := last + len(armourEnd)
		closing := bytes.Index(s.armoured[body:], dashes)
		if closing >= 0 {
			rest := bytes.Clone(s.armoured[body+closing+len(dashes):])
			s.swallow, s.armoured = nothing, nil
			return rest
		}
		s.armoured = append(s.armoured[:0], s.armoured[last:]...)
		if len(s.armoured) > window {
			s.armoured = append(s.armoured[:0], s.armoured[:len(armourEnd)]...)
		}
		return nil
	}
	if keep := len(armourEnd) - 1; len(s.armoured) > keep {
		s.armoured = append(s.armoured[:0], s.armoured[len(s.armoured)-keep:]...)
	}
	return nil
}
