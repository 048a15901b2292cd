package ssh

import (
	"bufio"
	"net"
	"sync"
	"time"
)

const (
	// readAhead is how much is read from a leg at once.
	readAhead = 64 << 10
	// part is the size of x/crypto/ssh's own buffer: a packet that is larger is
	// written as so many bytes and the rest.
	part = 4 << 10
	// lull is how long such a part waits for its rest. A packet that has just
	// that size has none.
	lull = time.Millisecond
)

// wire is a leg with fewer system calls: a packet costs one to read and one to
// write, where x/crypto/ssh's own buffers are small. One goroutine writes at a
// time.
type wire struct {
	net.Conn
	plain net.Conn // beneath Conn: what a system call knows
	in    *bufio.Reader

	mu    sync.Mutex
	held  []byte      // guarded by mu
	timer *time.Timer // guarded by mu; writes held
	err   error       // guarded by mu; of the timer's write
}

func newWire(conn net.Conn, in *intake) *wire {
	leg := &metered{Conn: conn, intake: in}
	return &wire{Conn: leg, plain: conn, in: bufio.NewReaderSize(leg, readAhead)}
}

// Read implements io.Reader.
func (w *wire) Read(b []byte) (int, error) { return w.in.Read(b) }

// Write implements io.Writer.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if len(w.held) == 0 {
		if len(b) != part {
			return w.Conn.Write(b)
		}
		w.held = append(w.held, b...)
		if w.timer == nil {
			w.timer = time.AfterFunc(lull, w.flush)
		} else {
			w.timer.Reset(lull)
		}
		return len(b), nil
	}
	w.timer.Stop()
	both := net.Buffers{w.held, b}
	w.held = w.held[:0]
	if n, err := both.WriteTo(w.plain); err != nil {
		return max(0, int(n)-part), err
	}
	return len(b), nil
}

// flush writes a part that has no rest.
func (w *wire) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) == 0 {
		return
	}
	_, w.err = w.Conn.Write(w.held)
	w.held = w.held[:0]
}
