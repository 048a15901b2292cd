// Package httpproxy is the engine of plug-ins whose wire is HTTP (RFC 9110)
// over TLS, or 1.1 without TLS where a plug-in says so: it has both legs, and asks
// the guard once for each request. Clients speak version 1.1 or 2; servers are
// asked in 1.1.
//
// It promises that a request is read whole before it is asked about, unless its
// body is too large for that and the plug-in and the guard can do without it, and
// goes to the server once, as it was asked about, after it was allowed; that what the
// server answers is masked, then recorded, then sent; that what the server logs
// the agent in with never reaches the client; and that what it cannot
// understand, or is too large, is refused. It knows nothing of what a request
// means: a plug-in's Site does.
package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// bodyBytes is the largest body of a request that is held. etcd takes 1.5 MiB.
	bodyBytes = 4 << 20
	// documentBytes is the largest document that is masked.
	documentBytes = 32 << 20
	// headerBytes bounds what stands before a body, in both directions.
	headerBytes = 64 << 10

	// What one workload and all of them may have in memory at once of what is held
	// whole, and how many requests may be under way.
	workloadBytes, allBytes       = 96 << 20, 256 << 20
	workloadRequests, allRequests = 512, 1 << 16

	// maxStreams is how many requests one connection of HTTP/2 may have open.
	maxStreams = 100

	pingTime = 30 * time.Second // after which a silent peer is asked whether it is there
	farewell = 2 * time.Second  // for what is under way when a session ends
)

// patience is how long a client may take.
type patience struct {
	grace time.Duration // for a handshake, a header; also for a connection to the server
	body  time.Duration // for a whole body
	idle  time.Duration // between requests
}

// Engine serves the sessions of one protocol, which share its quotas.
type Engine struct {
	memory   *protocol.Pool // of requests and answers while they are held whole
	requests *protocol.Pool // how many may be under way
	patience patience
}

// New returns an engine.
func New() *Engine {
	return &Engine{
		memory: protocol.NewPool(workloadBytes, allBytes), requests: protocol.NewPool(workloadRequests, allRequests),
		patience: patience{grace: 30 * time.Second, body: time.Minute, idle: 90 * time.Second}, // idle as API servers have it
	}
}

// Serve runs one session. It keeps to what protocol.Protocol demands.
func (e *Engine) Serve(ctx context.Context, conn *protocol.Conn, site Site) error {
	switch {
	case conn.Observe:
		return errors.New("HTTP over TLS cannot be observed only: what is not decrypted cannot be seen")
	case conn.ClientTLS == nil && !site.Plain:
		return errors.New("there is no certificate to show a client: trust.ca_file is missing")
	}
	s, err := newSession(ctx, e, conn, site)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// server is net/http's share of a session over HTTP/2. It closes closed when it
// has done with the leg.
func (s *Session) server(closed chan struct{}) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		Protocols:         protocols,
		ReadHeaderTimeout: s.engine.patience.grace,
		IdleTimeout:       s.engine.patience.idle,
		MaxHeaderBytes:    headerBytes,
		BaseContext:       s.base,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(closed)
			}
		},
		ErrorLog: silent(), // it would quote the wire
		// What asks about the server itself is refused as all that is no path.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               pingTime,
		},
	}
}

// stopped says why a session ended that nobody at its legs ended; "" otherwise.
func (s *Session) stopped() string {
	switch {
	case s.ctx.Err() == nil, errors.Is(context.Cause(s.ctx), errLeft):
		return ""
	case errors.Is(context.Cause(s.ctx), protocol.ErrStopped) && s.conn.Stopped != nil:
		return protocol.Printable("sluice: " + s.conn.Stopped())
	}
	return "sluice: the session ended"
}

// refusedBy is what an error refuses a request with.
func refusedBy(err error, code int, otherwise string) *Refusal {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return &Refusal{Code: code, Message: "sluice: " + otherwise}
}

// warning is a field that clients show to a person (RFC 9111, section 5.5, with
// the miscellaneous persistent warning of RFC 7234).
func warning(text string) string {
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(protocol.Printable(text))
	return fmt.Sprintf(`299 sluice "%s"`, escaped)
}
