package protocol

import (
	"crypto/tls"
	"errors"

	"golang.org/x/sys/unix"
)

const (
	clientBuffer = 16 << 10 // at first; grows only with bytes that really came
	serverBuffer = 64 << 10 // likewise; results are larger than questions
	minRead      = 4 << 10  // room that a read should have
	maxQueue     = 1 << 20  // bytes that may wait for a peer that does not read
	maxHeld      = 4 << 10  // bytes that wait for what comes next, to be one write with it
)

var errTooLarge = errors.New("a message is larger than the limit")

// wire is a leg's connection with its input buffer and what is to be written to
// it. It belongs to whoever drives the session.
type wire struct {
	socket *socket
	secure *tls.Conn // over socket; nil without TLS
	poller *poller
	id     uint64 // the poller's
	first  int    // size of in at first
	in     []byte // in[r:w] is unread
	r, w   int

	again   bool // is to be fed what it has before more is read
	more    bool // there may be more to read
	eof     bool // there is not
	over    bool // the conversation knows that
	waits   bool // is not fed until an action is over
	paused  bool // or until Resume
	shaking bool // a goroutine has the socket, for a handshake
	ended   bool // the peer ended its direction, says epoll
	batch   [][]byte
	held    []byte // of batches before, which lay in memory that is used again
	broken  bool   // a write failed: nothing more can be written
	closing bool   // CloseWrite once all is written
}

func newWire(s *socket, size int) *wire {
	return &wire{socket: s, first: size, in: make([]byte, size), again: true, more: true}
}

// stir takes in what epoll says of the leg.
func (w *wire) stir(events uint32) {
	w.ended = w.ended || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	if w.shaking {
		w.socket.stir()
		return
	}
	w.more = !w.eof
	w.socket.more, w.socket.ended = true, w.ended
	if w.socket.queued() > 0 {
		_ = w.flush() // what it says, the next one says again
	}
}

func (w *wire) unread() []byte { return w.in[w.r:w.w] }

func (w *wire) consume(n int) {
	w.r += n
	if w.r == w.w {
		w.r, w.w = 0, 0
	}
}

// makeRoom prepares a read: it moves what is unread to the front, or doubles
// the buffer when a message fills it. It gives a grown buffer back once it is
// empty.
func (w *wire) makeRoom(limit int) error {
	if w.w == 0 && len(w.in) > 4*w.first {
		w.in = make([]byte, w.first)
	}
	if len(w.in)-w.w >= minRead {
		return nil
	}
	if w.r > 0 {
		w.w = copy(w.in, w.unread())
		w.r = 0
	}
	if len(w.in)-w.w >= minRead {
		return nil
	}
	if w.w > limit {
		return errTooLarge
	}
	grown := make([]byte, 2*len(w.in))
	copy(grown, w.in[:w.w])
	w.in = grown
	return nil
}

// fill reads what is there and fits, and reports whether bytes came.
func (w *wire) fill() (came bool) {
	for w.w < len(w.in) {
		n, err := w.read(w.in[w.w:])
		w.w += n
		came = came || n > 0
		if errors.Is(err, errAgain) {
			w.more = false
			return came
		}
		if err != nil {
			w.more, w.eof = false, true
			return came
		}
		if w.secure == nil && !w.socket.more {
			w.more = false
			return came
		}
	}
	return came
}

func (w *wire) read(b []byte) (int, error) {
	if w.secure != nil {
		return w.secure.Read(b)
	}
	return w.socket.Read(b)
}

// hold copies what the batches of earlier calls left, because the next call may
// use their memory again.
func (w *wire) hold() {
	for _, piece := range w.batch {
		w.held = append(w.held, piece...)
	}
	clear(w.batch)
	w.batch = w.batch[:0]
}

// pending returns how many bytes are to be given to the socket.
func (w *wire) pending() int {
	n := len(w.held)
	for _, piece := range w.batch {
		n += len(piece)
	}
	return n
}

// queued returns how many bytes wait for the peer to take them.
func (w *wire) queued() int {
	if w == nil || w.shaking || w.broken {
		return 0
	}
	return w.socket.queued()
}

// flush gives the socket what is to be written, as one piece, and sends what
// the peer takes.
func (w *wire) flush() error {
	if w.shaking {
		return nil
	}
	if w.broken {
		w.hold()
		w.held = nil
		return nil
	}
	var err error
	if len(w.held) == 0 && len(w.batch) == 1 {
		err = w.write(w.batch[0])
		w.batch[0], w.batch = nil, w.batch[:0]
	} else {
		w.hold()
		err = w.write(w.held)
		w.held = w.held[:0]
		if cap(w.held) > maxQueue {
			w.held = nil
		}
	}
	if err != nil {
		w.broken = true
		return err
	}
	if w.closing && w.socket.queued() == 0 {
		w.closing = false
		w.closeWrite()
	}
	return nil
}

func (w *wire) write(b []byte) error {
	if w.secure == nil {
		return w.socket.put(b)
	}
	if len(b) > 0 {
		if _, err := w.secure.Write(b); err != nil {
			return err
		}
	}
	return w.socket.send()
}

// closeWrite ends our direction of the leg. The peer may be gone already.
func (w *wire) closeWrite() {
	if w.secure == nil {
		_ = unix.Shutdown(w.socket.fd, unix.SHUT_WR)
		return
	}
	_ = w.secure.CloseWrite()
	_ = w.socket.send()
}

// settle makes the coming close an ordinary one. A client's connection resets
// when it is closed unsaid, as by the death of this process, so that nobody
// takes a truncated answer for a whole one; this session ended by its own word.
func (w *wire) settle() {
	_ = unix.SetsockoptLinger(w.socket.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{}) // the peer may be gone already
}

// close closes the leg.
func (w *wire) close() {
	if w.secure != nil {
		_ = w.secure.Close() // says goodbye, if the peer listens
		_ = w.socket.send()
	}
	w.poller.forget(w.socket.fd, w.id)
	_ = unix.Close(w.socket.fd)
}
