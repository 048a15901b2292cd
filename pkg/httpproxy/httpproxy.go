// Package httpproxy is the engine of plug-ins whose wire is HTTP (RFC 9110)
// over TLS, in versions 1.1 and 2: it has both legs, and asks the guard once for
// each request.
//
// It promises that a request is read whole before it is asked about, and goes to
// the server once, as it was asked about, after it was allowed; that what the
// server answers is masked, then recorded, then sent; that what the server logs
// the agent in with never reaches the client; and that what it cannot
// understand, or is too large, is refused. It knows nothing of what a request
// means: a plug-in's Site does.
package httpproxy

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Engine serves the sessions of one protocol, which share its quotas.
type Engine struct{}

// New returns an engine.
func New() *Engine { return &Engine{} }

// Serve runs one session. It keeps to what protocol.Protocol demands.
func (e *Engine) Serve(ctx context.Context, conn *protocol.Conn, site Site) error {
	return errors.New("not yet")
}

// Session is one connection of a client.
type Session struct {
	conn *protocol.Conn
	site Site
	ctx  context.Context
}

// Conn is the session as the agent made it. Its Guard and Dial are used through
// Ask and Dial.
func (s *Session) Conn() *protocol.Conn { return s.conn }

// Context ends with the session: when the client leaves, when a person stops it.
func (s *Session) Context() context.Context { return s.ctx }

// Dial opens a connection to the server for one request that is upgraded: with
// TLS as the resource demands it, for HTTP/1.1 alone. The caller closes it.
func (s *Session) Dial(ctx context.Context) (net.Conn, error) { return nil, errors.New("not yet") }

// Outgoing returns an admitted request as the server gets it: with this body,
// what the agent logs in with, and nothing of what belongs to the client's
// connection. The caller adds an Upgrade where it wants one.
func (s *Session) Outgoing(ctx context.Context, r *http.Request, body []byte) (*http.Request, error) {
	return nil, errors.New("not yet")
}

// Fail ends the session for a fault of ours, such as a record that could not be
// made.
func (s *Session) Fail(err error) {}
