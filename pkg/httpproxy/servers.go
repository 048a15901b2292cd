package httpproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// errUnknown is why a server's certificate was not believed.
var errUnknown = errors.New("the server did not prove that it is the resource")

// servers are the connections of a session to its server. net/http's own pool
// is not used, because it sends some requests twice.
type servers struct {
	session   *Session
	transport *http.Transport
	config    *tls.Config // nil: without TLS
	scheme    string
	address   string
	dialling  chan struct{} // one at a time dials, so that the others can use what it gets

	mu   sync.Mutex
	open []*server // guarded by mu
}

// server is one connection.
type server struct {
	*http.ClientConn
	used atomic.Bool // a request was sent on it
}

func newServers(s *Session) (*servers, error) {
	p := &servers{session: s, scheme: "http", dialling: make(chan struct{}, 1)}
	destination := s.conn.Session.Destination
	p.address = destination.String()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	if s.conn.TLS.Mode != protocol.TLSOff {
		config, err := secured(s.conn)
		if err != nil {
			return nil, err
		}
		p.config, p.scheme = config, "https"
		protocols.SetHTTP2(true)
	}
	p.transport = &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return s.conn.Dial(ctx) },
		TLSClientConfig:        p.config,
		TLSHandshakeTimeout:    s.engine.patience.grace,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: headerBytes,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               pingTime,
		},
	}
	return p, nil
}

// oneAtATime has servers asked over HTTP/1.1, as a client asks that speaks no
// other: HTTP/2 costs more, and pays where several requests share a connection.
func (p *servers) oneAtATime() { p.transport.Protocols.SetHTTP2(false) }

// secured is how the server leg is secured, with the agent's certificate where
// it has one.
func secured(conn *protocol.Conn) (*tls.Config, error) {
	config := conn.TLS.Config.Clone()
	if len(conn.Credential.Certificate) == 0 {
		return config, nil
	}
	pair, err := tls.X509KeyPair(conn.Credential.Certificate, conn.Credential.Key)
	if err != nil {
		return nil, errors.New("the agent's client certificate and key cannot be used") // the cause may quote them
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// take returns a connection that a request was reserved on: a RoundTrip or a
// Release follows.
func (p *servers) take(ctx context.Context) (*server, error) {
	if conn := p.free(); conn != nil {
		return conn, nil
	}
	select {
	case p.dialling <- struct{}{}:
		defer func() { <-p.dialling }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if conn := p.free(); conn != nil {
		return conn, nil
	}
	return p.dial(ctx)
}

// free returns a connection that takes one more request, or nil. It forgets
// those that have ended.
func (p *servers) free() *server {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = slices.DeleteFunc(p.open, func(conn *server) bool {
		if conn.Err() == nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	for _, conn := range p.open {
		if conn.Reserve() == nil {
			return conn
		}
	}
	return nil
}

func (p *servers) dial(ctx context.Context) (*server, error) {
	ctx, cancel := context.WithTimeout(ctx, p.session.engine.patience.grace)
	defer cancel()
	opened, err := p.transport.NewClientConn(ctx, p.scheme, p.address)
	if err != nil {
		return nil, err
	}
	conn := &server{ClientConn: opened}
	if err := conn.Reserve(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, conn)
	return conn, nil
}

// send sends a request once. Only what is proven to change nothing is sent a
// second time, when a connection that was used before turns out to be closed.
func (p *servers) send(out *http.Request, readOnly bool) (*http.Response, error) {
	for again := readOnly; ; again = false {
		conn, err := p.take(out.Context())
		if err != nil {
			return nil, err
		}
		stale := conn.used.Swap(true)
		answer, err := conn.RoundTrip(out)
		if err == nil || !again || !stale || out.Context().Err() != nil {
			return answer, err
		}
	}
}

// close ends all connections.
func (p *servers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.open {
		_ = conn.Close()
	}
	p.open = nil
}

// Dial opens a connection to the server for one request that is upgraded: with
// TLS as the resource demands it, for HTTP/1.1 alone. The caller closes it.
func (s *Session) Dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.engine.patience.grace)
	defer cancel()
	plain, err := s.conn.Dial(ctx)
	if err != nil || s.servers.config == nil {
		return plain, err
	}
	config := s.servers.config.Clone()
	config.NextProtos = []string{"http/1.1"}
	secure := tls.Client(plain, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return secure, nil
}

// safely says why the server was not reached, without what it wrote.
func safely(err error) string {
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.As(err, &verification):
		return errUnknown.Error()
	case errors.As(err, &alert):
		return "the server did not let the agent in"
	case errors.Is(err, context.Canceled):
		return "the session ended"
	}
	return "the server cannot be reached"
}

// bodyOf is a body that is there already. No GetBody is told of, so that it is
// not sent twice.
func bodyOf(body []byte) io.ReadCloser {
	return io.NopCloser(struct{ io.Reader }{bytes.NewReader(body)})
}
