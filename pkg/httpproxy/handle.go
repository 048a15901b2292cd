package httpproxy

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// exchange is one request on its way.
type exchange struct {
	session *Session
	w       http.ResponseWriter
	r       *http.Request // as the server gets it, once it is admitted
	target  string        // as the client wrote it
	body    whole
	upload  *upload         // nil: body is all of it
	asked   *protocol.Asked // nil until the guard is asked
}

// handle serves one request.
func (s *Session) handle(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.end()
	x := &exchange{session: s, w: w, r: r, target: r.RequestURI}
	if !s.engine.requests.Take(s.netns(), 1) {
		w.Header().Set("Retry-After", "1")
		x.refuse(&Refusal{Code: http.StatusTooManyRequests, Message: "sluice: this workload has too many requests under way"})
		return
	}
	defer s.engine.requests.Give(s.netns(), 1)
	x.body.session = s
	defer x.body.close()
	x.serve()
}

// serve takes the request through its steps.
func (x *exchange) serve() {
	s := x.session
	if x.streamed() {
		return
	}
	upgrade, err := x.take()
	if err != nil {
		x.misunderstood(refusedBy(err, http.StatusBadRequest, "the request cannot be understood"))
		return
	}
	op, err := x.classify()
	if err != nil {
		x.misunderstood(refusedBy(err, http.StatusBadRequest, "the request cannot be understood"))
		return
	}
	if upgrade && (!s.http1 || s.site.Upgrade == nil) {
		x.misunderstood(&Refusal{Code: http.StatusNotImplemented, Message: "sluice: another protocol on this connection, such as WebSocket, is not served"})
		return
	}
	x.complete(&op)
	if refusal := s.door.enter(x.r.Context()); refusal != nil {
		x.refuse(refusal)
		return
	}
	if upgrade {
		s.site.Upgrade(x.w, x.r, s, op)
		return
	}
	if x.allowed(op) {
		x.forward()
	}
}

// classify has the plug-in say what is asked for.
func (x *exchange) classify() (operation.Operation, error) {
	if x.upload != nil {
		return x.session.site.Streamed(x.r)
	}
	return x.session.site.Classify(x.r, x.body.bytes)
}

// complete adds to an operation what a plug-in need not say.
func (x *exchange) complete(op *operation.Operation) {
	if op.HTTP == nil {
		op.HTTP = &operation.HTTP{
			Method: x.r.Method, Host: HostOf(x.r.Host), Path: x.r.URL.Path, Query: x.r.URL.RawQuery, Body: x.body.bytes,
		}
	}
	if op.Bytes == nil {
		op.Bytes = RequestBytes(x.r, x.body.bytes)
	}
	if op.Kind == "" {
		op.Kind = operation.Request
	}
	if op.Text == nil {
		op.Text = operation.Text(op.Bytes)
	}
}

// allowed asks about the operation. Where it is not to go on the client was
// told so.
func (x *exchange) allowed(op operation.Operation) bool {
	ctx := x.r.Context()
	asked, decision, err := x.session.conn.Ask(ctx, op, func(protocol.Waiting) {})
	x.asked = asked
	switch {
	case ctx.Err() != nil:
		x.end(protocol.Outcome{Status: protocol.Abandoned})
		x.gone()
		return false
	case err != nil:
		x.end(protocol.Outcome{Status: protocol.Refused})
		x.refuse(&Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: it could not be decided, so it is refused"})
		return false
	case decision.Effect != protocol.Allow:
		refusal := denied(decision)
		x.end(protocol.Outcome{Status: protocol.Refused, Code: code(refusal.Code)})
		x.refuse(refusal)
		return false
	}
	if release := decision.Release(); release != "" {
		x.w.Header().Add("Warning", warning(release))
	}
	return true
}

// misunderstood refuses a request that nobody can decide about. It is recorded
// all the same, and a rule that refuses it is named.
func (x *exchange) misunderstood(refusal *Refusal) {
	ctx, cancel := context.WithCancel(x.r.Context())
	cancel() // nobody is asked to approve what is refused in any case
	target, query := x.target[:min(len(x.target), maxTarget)], x.r.URL.RawQuery
	if refusal.Secret {
		target, _, _ = strings.Cut(target, "?")
		query = ""
	}
	text := operation.Text(x.r.Method + " " + target)
	op := operation.Operation{
		Kind: operation.Request, Text: text, Bytes: text, ReadOnly: true,
		HTTP: &operation.HTTP{Method: x.r.Method, Host: HostOf(x.r.Host), Path: x.r.URL.Path, Query: query},
	}
	asked, _, err := x.session.conn.Ask(ctx, op, func(protocol.Waiting) {})
	x.asked = asked
	if err != nil && !errors.Is(err, context.Canceled) {
		x.session.conn.Log.Warn("A request that is refused could not be recorded")
	}
	x.end(protocol.Outcome{Status: protocol.Refused, Code: code(refusal.Code)})
	x.refuse(refusal)
}

// end ends the operation.
func (x *exchange) end(outcome protocol.Outcome) {
	x.upload.close(&outcome)
	if err := x.asked.End(outcome); err != nil {
		x.session.Fail(err)
	}
}

// finish records the last of the answer, and ends the operation.
func (x *exchange) finish(last []byte, outcome protocol.Outcome) error {
	x.upload.close(&outcome)
	return x.asked.Finish(last, outcome)
}

// refuse says no in the client's words, and in a field that clients show which
// do not read the body.
func (x *exchange) refuse(refusal *Refusal) {
	x.w.Header().Add("Warning", warning(refusal.Message))
	x.session.site.Refuse(x.w, x.r, refusal)
}

// gone ends a request whose client is not there any more, or whose session
// ends: then it is told why.
func (x *exchange) gone() {
	why := x.session.stopped()
	if why == "" {
		panic(http.ErrAbortHandler)
	}
	x.w.Header().Set("Connection", "close")
	x.refuse(&Refusal{Code: http.StatusForbidden, Message: why})
}
