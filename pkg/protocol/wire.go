package protocol

import (
	"errors"
	"net"
)

const (
	clientBuffer = 16 << 10 // at first; grows only with bytes that really came
	serverBuffer = 64 << 10 // likewise; results are larger than questions
	minRead      = 4 << 10  // room that a read should have
	maxQueue     = 1 << 20  // bytes that may wait for a peer that does not read
)

var errTooLarge = errors.New("a message is larger than the limit")

// wire is a leg's connection with its input buffer and its output queue. The
// input belongs to the goroutine that reads the leg; the rest is guarded by
// Pump.mu.
type wire struct {
	conn  net.Conn
	first int    // size of in at first
	in    []byte // in[r:w] is unread
	r, w  int
	batch [][]byte // of the actions being done

	queue   []byte // to be written by whoever is busy
	spare   []byte // the queue's other half
	joined  []byte // memory of a batch of several pieces
	busy    bool   // somebody writes
	broken  bool   // a write failed: nothing more can be written
	closing bool   // CloseWrite once the queue is empty
}

func newWire(conn net.Conn, size int) *wire {
	return &wire{conn: direct(conn), first: size, in: make([]byte, size)}
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

// fill reads once. It returns nil when bytes came.
func (w *wire) fill() error {
	n, err := w.conn.Read(w.in[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	return err
}

// closeWrite ends our direction of the leg, where the connection can.
func (w *wire) closeWrite() {
	if half, ok := w.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the peer may be gone already
	}
}

// settle makes the coming close an ordinary one. A client's connection resets
// when it is closed unsaid, as by the death of this process, so that nobody
// takes a truncated answer for a whole one; this session ended by its own word.
func settle(client net.Conn) {
	if tcp, ok := client.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(-1) // the peer may be gone already
	}
}

// claimed is what one goroutine has to write to one leg after it released the
// lock.
type claimed struct {
	wire   *wire
	direct []byte
}

// claim takes the batches of both legs. A leg that nobody writes to becomes
// this goroutine's, which then writes the batch straight from where it lies;
// otherwise the batch is copied to the queue of whoever writes.
func (p *Pump) claim() (claims [2]claimed) {
	for leg, w := range p.wires {
		if w == nil || (len(w.batch) == 0 && !w.closing) {
			continue
		}
		if w.broken {
			w.batch = w.batch[:0]
			continue
		}
		if w.busy {
			for _, piece := range w.batch {
				w.queue = append(w.queue, piece...)
			}
		} else {
			w.busy = true
			claims[leg] = claimed{wire: w, direct: w.join()}
		}
		clear(w.batch)
		w.batch = w.batch[:0]
	}
	return claims
}

// join makes one piece of the batch, so that it costs one system call.
func (w *wire) join() []byte {
	if len(w.batch) == 0 {
		return nil
	}
	if len(w.batch) == 1 {
		return w.batch[0]
	}
	w.joined = w.joined[:0]
	for _, piece := range w.batch {
		w.joined = append(w.joined, piece...)
	}
	return w.joined
}

// flush writes what was claimed and then what others queued meanwhile. It then
// waits until no queue is too long, which is the back-pressure on a leg whose
// peer does not read.
func (p *Pump) flush(claims [2]claimed) {
	for leg, c := range claims {
		if c.wire == nil {
			continue
		}
		// A server that is gone may have said why: its reader ends the
		// session. A client that is gone has nothing to say.
		if p.drain(c) != nil && Leg(leg) == ClientLeg {
			p.fail(nil)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ended && p.crowded() {
		p.changed.Wait()
	}
}

func (p *Pump) crowded() bool {
	for _, w := range p.wires {
		if w != nil && w.busy && len(w.queue) > maxQueue {
			return true
		}
	}
	return false
}

func (p *Pump) drain(c claimed) error {
	w, piece := c.wire, c.direct
	for {
		var err error
		if len(piece) > 0 {
			_, err = w.conn.Write(piece)
		}
		p.mu.Lock()
		if err != nil || len(w.queue) == 0 {
			w.queue = w.queue[:0]
			w.busy = false
			w.broken = err != nil
			closing := w.closing && err == nil
			w.closing = false
			p.changed.Broadcast()
			p.mu.Unlock()
			if closing {
				w.closeWrite()
			}
			return err
		}
		piece = w.queue
		w.queue, w.spare = w.spare[:0], w.queue
		p.mu.Unlock()
	}
}
