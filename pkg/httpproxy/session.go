package httpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Session is one connection of a client.
type Session struct {
	engine  *Engine
	conn    *protocol.Conn
	site    Site
	ctx     context.Context // ends with the session
	cancel  context.CancelCauseFunc
	servers *servers
	door    *door
	http1   bool   // at the client's leg
	unwatch func() // ends the watch over it; nil for HTTP/2

	mu      sync.Mutex
	serving int        // requests; guarded by mu
	over    bool       // no more begin; guarded by mu
	idle    *sync.Cond // serving is 0
	fault   error      // of ours, the first; guarded by mu
}

func newSession(ctx context.Context, e *Engine, conn *protocol.Conn, site Site) (*Session, error) {
	s := &Session{engine: e, conn: conn, site: site}
	s.idle = sync.NewCond(&s.mu)
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.door = newDoor(s)
	servers, err := newServers(s)
	s.servers = servers
	return s, err
}

// Conn is the session as the agent made it. Its Dial is used through Dial.
func (s *Session) Conn() *protocol.Conn { return s.conn }

// Context ends with the session: when the client leaves, when a person stops it.
func (s *Session) Context() context.Context { return s.ctx }

// Fail ends the session for a fault of ours, such as a record that could not be
// made.
func (s *Session) Fail(err error) {
	s.blame(err)
	s.cancel(err)
}

// blame notes a fault of ours.
func (s *Session) blame(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil && err != nil && !errors.Is(err, protocol.ErrEnded) {
		s.fault = err
	}
}

func (s *Session) faulty() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

func (s *Session) netns() uint64 { return s.conn.Session.Workload.Kernel.NetnsCookie }

// begin reports whether one more request may be served. If so, end follows.
func (s *Session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.serving++
	return true
}

func (s *Session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving--
	s.idle.Broadcast()
}

// finish waits until no request is served, and lets none begin.
func (s *Session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for s.serving > 0 {
		s.idle.Wait()
	}
}

// run serves the session to its end.
func (s *Session) run(serving context.Context) error {
	defer s.cancel(nil)
	leg := clientLeg{s.conn.Client}
	defer leg.Close() //nolint:errcheck // the client may have closed it
	secure, err := s.greet(serving, leg)
	if err != nil || secure == nil {
		return err
	}
	over := make(chan struct{})
	defer close(over)
	context.AfterFunc(s.ctx, func() {
		select {
		case <-over:
		case <-time.After(farewell):
			_ = leg.Close()
		}
	})
	if over, ok := secure.(*tls.Conn); ok && over.ConnectionState().NegotiatedProtocol == "h2" {
		s.serve2(secure)
	} else if err := s.serve1(secure); err != nil {
		return err
	}
	s.cancel(nil)
	s.finish()
	_ = secure.Close()
	s.servers.close()
	return s.faulty()
}

// errLeft is why a session ends whose client has gone.
var errLeft = errors.New("the client left")

// serve1 serves a client that speaks HTTP/1.1.
func (s *Session) serve1(leg net.Conn) error {
	s.http1 = true
	unwatch, err := watch(s.conn.Client, func() { s.cancel(errLeft) })
	if err != nil {
		return err
	}
	s.unwatch = sync.OnceFunc(unwatch)
	defer s.unwatch()
	newClient(s, leg).serve()
	return nil
}

// hijacked says that the leg is no more read here: whoever does notices its end.
func (s *Session) hijacked() { s.unwatch() }

// serve2 serves a client that speaks HTTP/2.
func (s *Session) serve2(leg net.Conn) {
	closed := make(chan struct{})
	server, listener := s.server(closed), &single{conn: leg, over: make(chan struct{})}
	var wait sync.WaitGroup
	wait.Go(func() { _ = server.Serve(listener) })
	select {
	case <-closed:
	case <-s.ctx.Done():
		s.sayGoodbye(server)
	}
	s.cancel(nil)
	_ = server.Close()
	s.finish()
	_ = listener.Close()
	wait.Wait()
}

// sayGoodbye lets what is under way tell its clients why it ends.
func (s *Session) sayGoodbye(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = server.Shutdown(ctx) // Close follows
}

// tlsRecord begins a handshake (RFC 8446, section 5.1).
const tlsRecord = 0x16

// greet does the handshake, or none where the client may do without. Both are
// nil where the client said nothing.
func (s *Session) greet(serving context.Context, leg net.Conn) (net.Conn, error) {
	if !s.site.Plain {
		return s.handshake(serving, leg)
	}
	first := s.first(leg)
	if first == nil {
		return nil, nil //nolint:nilnil // it said nothing
	}
	leg = &peeked{Conn: leg, first: first}
	switch {
	case first[0] >= 'A' && first[0] <= 'Z': // a method
		return leg, nil
	case first[0] != tlsRecord:
		return nil, &protocol.Violation{Leg: protocol.ClientLeg, Reason: "what it sent is not HTTP"}
	case s.conn.ClientTLS == nil:
		return nil, &protocol.Violation{Leg: protocol.ClientLeg, Reason: "it asks for TLS, and trust.ca_file is missing"}
	}
	return s.handshake(serving, leg)
}

// first reads the first byte of a leg, within its time; nil: there is none.
func (s *Session) first(leg net.Conn) []byte {
	_ = leg.SetReadDeadline(time.Now().Add(s.engine.patience.grace))
	stop := context.AfterFunc(s.ctx, func() { _ = leg.SetReadDeadline(time.Unix(1, 0)) })
	first := make([]byte, 1)
	_, err := io.ReadFull(leg, first)
	if stop(); err != nil || s.ctx.Err() != nil {
		return nil
	}
	_ = leg.SetReadDeadline(time.Time{})
	return first
}

// handshake does that of TLS.
func (s *Session) handshake(serving context.Context, leg net.Conn) (net.Conn, error) {
	config := s.conn.ClientTLS.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	config.ClientAuth = tls.NoClientCert // whatever a client shows is not asked for
	secure := tls.Server(leg, config)
	ctx, cancel := context.WithTimeout(s.ctx, s.engine.patience.grace)
	defer cancel()
	err := secure.HandshakeContext(ctx)
	var unlike tls.RecordHeaderError
	switch {
	case err == nil:
		return secure, nil
	case serving.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return nil, nil
	case errors.As(err, &unlike) && unlike.Conn != nil:
		sayPlain(unlike)
		return nil, &protocol.Violation{Leg: protocol.ClientLeg, Reason: "what it sent is not TLS"}
	}
	return nil, &protocol.Violation{Leg: protocol.ClientLeg, Reason: "its handshake of TLS failed"}
}

// sayPlain answers a client that speaks HTTP without TLS.
func sayPlain(unlike tls.RecordHeaderError) {
	if first := unlike.RecordHeader[0]; first < 'A' || first > 'Z' {
		return
	}
	_ = unlike.Conn.SetWriteDeadline(time.Now().Add(farewell))
	_, _ = io.WriteString(unlike.Conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"+
		"sluice: this is HTTP without TLS: write https\n") // it is closed in any case
}

// base is the context of all requests.
func (s *Session) base(net.Listener) context.Context { return s.ctx }

// silent is a log that keeps nothing.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
