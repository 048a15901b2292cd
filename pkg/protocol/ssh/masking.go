package ssh

import (
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// quiet is how long the beginning of what may be a secret is kept back when
// nothing follows it. A person who waits for a prompt must not notice; what a
// program writes at once comes closer together.
const quiet = 200 * time.Millisecond

// masking hides secrets in one stream on its way to the client.
type masking struct {
	op   *asked
	send func(chunk []byte) bool // false: the stream has ended

	mu     sync.Mutex
	stream *mask.Stream // guarded by mu
	out    []byte       // guarded by mu
	ended  bool         // guarded by mu
	timer  *time.Timer
}

func newMasking(conn *protocol.Conn, op *asked, send func([]byte) bool) *masking {
	m := &masking{op: op, send: send, stream: mask.NewStream(conn.Masks, conn.MaskKey)}
	m.timer = time.AfterFunc(quiet, m.release)
	return m
}

// write takes what the server sent. It reports whether the stream goes on.
func (m *masking) write(chunk []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(m.stream.Write(m.out[:0], chunk))
	m.timer.Reset(quiet)
	return !m.ended
}

// release lets go of what was kept back.
func (m *masking) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(m.stream.Release(m.out[:0]))
}

// close ends the stream.
func (m *masking) close() {
	m.timer.Stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(m.stream.Close(m.out[:0]))
	m.ended = true
}

// pass sends what is safe. mu is held.
func (m *masking) pass(out []byte, hidden int) {
	m.out = out
	m.op.hid(hidden)
	if len(out) > 0 && !m.ended {
		m.ended = !m.send(out)
	}
}
