package httpproxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// streamed has the plug-in serve a request whose body is not read whole. It
// reports whether it did.
func (x *exchange) streamed() bool {
	site := &x.session.site
	if site.Stream == nil || x.plausible() != nil || wantsUpgrade(x.r.Header) {
		return false
	}
	r := cleaned(x.r)
	if encoding := x.r.Header["Content-Encoding"]; encoding != nil {
		r.Header["Content-Encoding"] = encoding
	}
	body := x.patient()
	r.Body = body
	if site.Admit != nil && site.Admit(r) != nil {
		return false // and is refused
	}
	defer body.Close() //nolint:errcheck // nobody reads any more
	return site.Stream(x.w, r, x.session)
}

// patient is the body of the request, that is not held.
func (x *exchange) patient() *patientBody {
	return &patientBody{from: x.r.Body, each: x.session.engine.patience.body, control: http.NewResponseController(x.w)}
}

// patientBody is a body that may take long, as long as something comes. One
// goroutine reads it at a time.
type patientBody struct {
	from    io.Reader
	each    time.Duration // for a piece
	control *http.ResponseController

	mu      sync.Mutex
	reading bool // guarded by mu
	over    bool // nothing more is to be read; guarded by mu
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	if !b.start() {
		return 0, net.ErrClosed
	}
	n, err := b.from.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	_ = b.control.SetReadDeadline(time.Time{}) // what follows is another request
	return n, err
}

// start gives the next piece its time.
func (b *patientBody) start() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return false
	}
	b.reading = true
	_ = b.control.SetReadDeadline(time.Now().Add(b.each)) // without one it waits as long as the session
	return true
}

// Close ends a Read that waits, and with it the connection, or the stream of
// HTTP/2.
func (b *patientBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if !b.reading {
		return nil
	}
	return b.control.SetReadDeadline(time.Unix(1, 0))
}

// Enter asks, once in a session, whether it may connect to its server. It
// returns why a request cannot go on; nil: it may.
func (s *Session) Enter(ctx context.Context) *Refusal { return s.door.enter(ctx) }

// Send sends a request of Outgoing to the server, once. One that only reads may be
// sent again when a connection turns out to be closed.
func (s *Session) Send(out *http.Request) (*http.Response, error) {
	return s.servers.send(out, out.Method == http.MethodGet)
}

// Hide overwrites in a text of the server's what the agent logs in with, and
// returns how much of the text is decided: behind it may stand the beginning of
// more, unless the text is whole.
func (s *Session) Hide(text []byte, whole bool) (decided int) {
	if secrets := s.site.Login.secretive(); secrets != nil {
		return secrets.hide(text, whole)
	}
	return len(text)
}
