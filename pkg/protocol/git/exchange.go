package git

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// exchange is one request of a client, and the answer.
type exchange struct {
	session *session
	to      *httpproxy.Session
	w       http.ResponseWriter
	r       *http.Request
	target  target
	asked   *protocol.Asked // about the request
	begun   bool            // the answer's header is written
}

// allowed asks about the request. Where it is not to go on the client was told
// so.
func (x *exchange) allowed() bool {
	asked, decision, err := x.session.conn.Ask(x.r.Context(), x.operation(), func(protocol.Waiting) {})
	x.asked = asked
	switch {
	case err != nil:
		x.end(protocol.Outcome{Status: protocol.Refused})
		refuse(x.w, x.r, &httpproxy.Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: it could not be decided, so it is refused"})
	case decision.Effect != protocol.Allow:
		x.end(protocol.Outcome{Status: protocol.Refused, Code: "403"})
		refuse(x.w, x.r, &httpproxy.Refusal{Code: http.StatusForbidden, Message: decision.Refusal()})
	default:
		return true
	}
	return false
}

// end ends the request's operation.
func (x *exchange) end(outcome protocol.Outcome) {
	if err := x.asked.End(outcome); err != nil {
		x.to.Fail(err)
	}
}

// advertise passes what a service has to offer.
func (x *exchange) advertise() {
	if !x.allowed() {
		return
	}
	answer, err := x.offer(x.r.Context(), x.target.service, x.version())
	if err == nil {
		defer answer.Close() //nolint:errcheck // only read
		err = gitwire.Advertise(x.target.service, answer, func(chunk []byte) error {
			return x.pass("advertisement", chunk)
		})
	}
	x.finish(false, err)
}

// pass records a piece of the answer and gives it to the client.
func (x *exchange) pass(kind string, chunk []byte) error {
	if err := x.asked.Record(protocol.Response, chunk); err != nil {
		return err
	}
	return x.give(kind, chunk)
}

// give gives the client a piece of an answer that is an advertisement or a
// result.
func (x *exchange) give(kind string, chunk []byte) error {
	if !x.begun {
		x.begin(kind)
	}
	if _, err := x.w.Write(chunk); err != nil {
		return err
	}
	return http.NewResponseController(x.w).Flush()
}

// begin writes the answer's header.
func (x *exchange) begin(kind string) {
	x.begun = true
	x.w.Header().Set("Content-Type", "application/x-"+string(x.target.service)+"-"+kind)
	x.w.Header().Set("Cache-Control", "no-cache, no-store")
	x.w.WriteHeader(http.StatusOK)
}

// finish ends the exchange: with a clean end, or with what the client can still
// be told.
func (x *exchange) finish(refused bool, err error) {
	var fault *serverError
	switch {
	case err == nil && refused:
		x.end(protocol.Outcome{Status: protocol.Refused})
	case err == nil:
		x.end(protocol.Outcome{Status: protocol.OK, Code: "200"})
	case x.r.Context().Err() != nil:
		x.end(protocol.Outcome{Status: protocol.Abandoned})
	case errors.As(err, &fault):
		x.end(protocol.Outcome{Status: protocol.Failed, Code: fault.code})
	default:
		x.end(protocol.Outcome{Status: protocol.Abandoned})
	}
	switch {
	case err == nil && !x.begun:
		x.begin("result") // which is empty
	case err == nil:
	case x.begun:
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	case fault != nil:
		refuse(x.w, x.r, fault.refusal())
	default:
		refuse(x.w, x.r, &httpproxy.Refusal{Code: http.StatusBadGateway, Message: "sluice: " + reason(err)})
	}
}

// reason is what of an error is safe to show.
func reason(err error) string {
	var broken *protocol.Violation
	if errors.As(err, &broken) {
		return broken.Error()
	}
	return "it could not be served"
}

// serve has a service of the server do what the client asks of it.
func (x *exchange) serve() {
	body, err := x.body()
	if err != nil {
		refuse(x.w, x.r, &httpproxy.Refusal{Code: http.StatusUnsupportedMediaType, Message: "sluice: " + err.Error()})
		return
	}
	if !x.allowed() {
		return
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	server, err := x.open(ctx)
	if err != nil {
		x.finish(false, err)
		return
	}
	conn, plugin := x.session.conn, x.session.plugin
	var wait sync.WaitGroup
	refused, err := gitwire.Serve(ctx, gitwire.Run{
		Command:   gitwire.Command{Service: x.target.service, Repository: x.target.repository},
		Client:    body,
		Go:        wait.Go,
		Answer:    result{x},
		Server:    server,
		Open:      x.question,
		Guard:     conn.Guard,
		Parent:    x.asked.Op.ID,
		Limits:    gitwire.Limits{Dir: plugin.options.PackDir},
		Room:      plugin.packs,
		Workload:  conn.Session.Workload.Kernel.NetnsCookie,
		Preface:   x.asked.Record,
		Hide:      x.to.Hide,
		Stateless: true,
	})
	_ = x.r.Body.Close() // ends who waits for the rest of it
	wait.Wait()
	x.finish(refused, err)
}

// body is what the client sends, as it was before it was compressed.
func (x *exchange) body() (io.Reader, error) {
	if want := "application/x-" + string(x.target.service) + "-request"; x.r.Header.Get("Content-Type") != want {
		return nil, errors.New("the body is no request of git's")
	}
	switch encoding := x.r.Header.Get("Content-Encoding"); {
	case encoding == "" || strings.EqualFold(encoding, "identity"):
		return x.r.Body, nil
	case strings.EqualFold(encoding, "gzip") || strings.EqualFold(encoding, "x-gzip"):
		return &inflated{from: x.r.Body}, nil
	}
	return nil, errors.New("the body is compressed in a way that is not understood")
}

// inflated is a body that was compressed. It is bounded by who reads it.
type inflated struct {
	from io.Reader
	zip  *gzip.Reader
}

// Read implements io.Reader.
func (b *inflated) Read(p []byte) (int, error) {
	if b.zip == nil {
		var err error
		if b.zip, err = gzip.NewReader(b.from); err != nil {
			return 0, err
		}
	}
	return b.zip.Read(p)
}

// result is the answer of a service.
type result struct{ x *exchange }

// Write implements io.Writer.
func (r result) Write(p []byte) (int, error) { return len(p), r.x.give("result", p) }
