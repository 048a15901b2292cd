package protocol

import (
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/mask"
)

// quiet is how long the beginning of what may be a secret is kept back when
// nothing follows it. A person who waits for a prompt must not notice; what a
// program writes at once comes closer together.
const quiet = 200 * time.Millisecond

// Masking hides secrets in one stream of an operation on its way to the
// client. One goroutine writes; what was kept back leaves from another.
type Masking struct {
	op   *Asked
	send func(chunk []byte) bool // false: the stream has ended

	mu     sync.Mutex
	stream *mask.Stream // guarded by mu
	out    []byte       // guarded by mu
	ended  bool         // guarded by mu
	timer  *time.Timer
}

// NewMasking returns the masking of a stream by what the session's detectors
// find. It gives send what may leave, and has to be closed.
func (c *Conn) NewMasking(op *Asked, send func(chunk []byte) bool) *Masking {
	m := &Masking{op: op, send: send, stream: mask.NewStream(c.Masks, c.MaskKey)}
	m.timer = time.AfterFunc(quiet, m.release)
	return m
}

// Write takes what the server sent. It reports whether the stream goes on.
func (m *Masking) Write(chunk []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(m.stream.Write(m.out[:0], chunk))
	m.timer.Reset(quiet)
	return !m.ended
}

// release lets go of what was kept back.
func (m *Masking) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(m.stream.Release(m.out[:0]))
}

// Close ends the stream.
func (m *Masking) Close() {
	m.timer.Stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(m.stream.Close(m.out[:0]))
	m.ended = true
}

// pass sends what is safe. mu is held.
func (m *Masking) pass(out []byte, hidden int) {
	m.out = out
	m.op.Hid(hidden)
	if len(out) > 0 && !m.ended {
		m.ended = !m.send(out)
	}
}
