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

	"github.com/sluicegate/sluice/pkg/protocol"
)

// errUnknown is why a server's certificate was not believed.
var errUnknown = errors.New("the server did not prove that it is the resource")

// servers are the connections of a session to its server. net/http's own are not
// used, because they send some requests twice, and have goroutines of their own.
type servers struct {
	session *Session
	config  *tls.Config // nil: without TLS
	scheme  string
	address string
	dials   chan struct{} // one at a time dials, so that the others can use what becomes free
	spare   chan *server  // nobody asks on them
}

// maxSpare is how many connections are kept that nobody asks on.
const maxSpare = 8

func newServers(s *Session) (*servers, error) {
	p := &servers{
		session: s, scheme: "http", address: s.conn.Session.Destination.String(),
		dials: make(chan struct{}, 1), spare: make(chan *server, maxSpare),
	}
	if s.conn.TLS.Mode == protocol.TLSOff {
		return p, nil
	}
	config, err := secured(s.conn)
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{"http/1.1"}
	p.config, p.scheme = config, "https"
	return p, nil
}

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

// take returns a connection that nobody else asks on: one that has become free,
// or a new one.
func (p *servers) take(ctx context.Context) (*server, error) {
	for {
		select {
		case conn := <-p.spare:
			if conn.quiet() {
				return conn, nil
			}
			conn.close()
			continue
		default:
		}
		select {
		case conn := <-p.spare:
			if conn.quiet() {
				return conn, nil
			}
			conn.close()
		case p.dials <- struct{}{}:
			defer func() { <-p.dials }()
			return p.dial(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// give takes a connection back.
func (p *servers) give(conn *server) {
	select {
	case p.spare <- conn:
	default:
		conn.close()
	}
}

// dial opens a connection, with TLS as the resource demands it.
func (p *servers) dial(ctx context.Context) (*server, error) {
	ctx, cancel := context.WithTimeout(ctx, p.session.engine.patience.grace)
	defer cancel()
	plain, err := p.session.conn.Dial(ctx)
	if err != nil {
		return nil, err
	}
	below, err := newLegBelow(plain)
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	if p.config == nil {
		return newServer(below, below), nil
	}
	secure := tls.Client(below, p.config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return newServer(below, secure), nil
}

// send sends a request once. Only what is proven to change nothing is sent a
// second time, when a connection that was used before turns out to be closed.
func (p *servers) send(out *http.Request, readOnly bool) (*http.Response, error) {
	for again := readOnly && out.Body == http.NoBody; ; again = false {
		conn, err := p.take(out.Context())
		if err != nil {
			return nil, err
		}
		stale := conn.used
		answer, err := conn.ask(out, func(again bool) {
			if again {
				p.give(conn)
			}
		})
		if err == nil || !again || !stale || out.Context().Err() != nil {
			return answer, err
		}
	}
}

// close ends all connections. None is asked on any more.
func (p *servers) close() {
	for {
		select {
		case conn := <-p.spare:
			conn.close()
		default:
			return
		}
	}
}

// Dial opens a connection to the server for one request that is upgraded: with
// TLS as the resource demands it, for HTTP/1.1 alone. The caller closes it.
func (s *Session) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := s.servers.dial(ctx)
	if err != nil {
		return nil, err
	}
	return conn.conn, nil
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
