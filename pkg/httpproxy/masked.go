package httpproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// document gives an answer that is one document.
func (x *exchange) document(answer *http.Response, masking *Masking) {
	read := whole{session: x.session}
	defer read.close()
	err := read.read(answer.Body, documentBytes)
	if errors.Is(err, errLong) || errors.Is(err, errRoom) {
		x.hidden(&Refusal{Code: http.StatusBadGateway, Message: "sluice: the answer is too large to be masked, so it is not shown"})
		return
	}
	if err != nil {
		x.broken()
		return
	}
	masked, values, err := masking.Document(read.bytes)
	if err != nil {
		x.hidden(refusedBy(err, http.StatusBadGateway, "the answer cannot be masked, so it is not shown"))
		return
	}
	x.asked.Hid(values)
	if err := x.asked.Finish(append(head(answer), masked...), outcome(answer)); err != nil {
		x.unrecorded(err)
		return
	}
	x.start(answer, int64(len(masked)))
	_, _ = x.w.Write(masked) // a client that is gone is noticed elsewhere
}

// sequence gives an answer that is one document after the other.
func (x *exchange) sequence(answer *http.Response, masking *Masking) {
	out := x.opened(answer, -1)
	if !out.begin() {
		return
	}
	from := &bounded{from: answer.Body}
	documents := json.NewDecoder(from)
	var document json.RawMessage
	for {
		from.left = documentBytes
		if err := documents.Decode(&document); err != nil {
			out.close(err)
			return
		}
		masked, values, err := masking.Document(document)
		if err != nil {
			out.close(err)
			return
		}
		x.asked.Hid(values)
		if !out.pass(append(bytes.TrimRight(masked, "\n"), '\n')) {
			out.close(protocol.ErrEnded)
			return
		}
	}
}

// bounded is a reader that gives so many bytes for each document.
type bounded struct {
	from io.Reader
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// text gives an answer that is a text without end, as a log.
func (x *exchange) text(answer *http.Response, stream *mask.Stream) {
	m := &masking{out: x.opened(answer, -1), stream: stream}
	if !m.out.begin() {
		return
	}
	m.timer = time.AfterFunc(quietAfter, m.release)
	piece := make([]byte, pieceBytes)
	for {
		n, err := answer.Body.Read(piece)
		if n > 0 && !m.write(piece[:n]) {
			err = protocol.ErrEnded
		}
		if err != nil {
			m.close()
			m.out.close(err)
			return
		}
	}
}

// masking hides secrets in a text on its way to the client. What may begin a
// secret is let go when nothing follows it for a while.
type masking struct {
	mu     sync.Mutex
	out    *outflow     // guarded by mu
	stream *mask.Stream // guarded by mu
	buffer []byte       // guarded by mu
	closed bool         // guarded by mu
	timer  *time.Timer
}

func (m *masking) write(piece []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	going := m.pass(m.stream.Write(m.buffer[:0], piece))
	m.timer.Reset(quietAfter)
	return going
}

// release lets go of what was kept back.
func (m *masking) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.pass(m.stream.Release(m.buffer[:0]))
	}
}

// close ends the text.
func (m *masking) close() {
	m.timer.Stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.pass(m.stream.Close(m.buffer[:0]))
}

// pass sends what is safe. mu is held.
func (m *masking) pass(out []byte, hidden int) bool {
	m.buffer = out
	m.out.x.asked.Hid(hidden)
	return len(out) == 0 || m.out.pass(out)
}
