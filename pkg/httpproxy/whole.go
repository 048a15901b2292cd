package httpproxy

import (
	"errors"
	"io"
)

var (
	errLong = errors.New("it is longer than the limit")
	errRoom = errors.New("the workload has no room left")
)

// pieceBytes is how much is read, recorded and forwarded at once.
const pieceBytes = 32 << 10

// whole is something that is read to its end, with the room that it takes.
type whole struct {
	session *Session
	bytes   []byte
	taken   int64
}

// read reads to the end of r. The room is taken before the memory, which is up
// to twice as much as was read.
func (w *whole) read(r io.Reader, limit int) error {
	for {
		if len(w.bytes) == cap(w.bytes) && !w.grow() {
			return errRoom
		}
		n, err := r.Read(w.bytes[len(w.bytes):cap(w.bytes)])
		w.bytes = w.bytes[:len(w.bytes)+n]
		switch {
		case len(w.bytes) > limit:
			return errLong
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// grow doubles the memory.
func (w *whole) grow() bool {
	more := max(4<<10, cap(w.bytes))
	if !w.session.engine.memory.Take(w.session.netns(), int64(more)) {
		return false
	}
	w.taken += int64(more)
	grown := make([]byte, len(w.bytes), len(w.bytes)+more)
	copy(grown, w.bytes)
	w.bytes = grown
	return true
}

// close gives the room back. The bytes must not be used any more.
func (w *whole) close() {
	w.session.engine.memory.Give(w.session.netns(), w.taken)
	w.taken, w.bytes = 0, nil
}
