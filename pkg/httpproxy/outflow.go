package httpproxy

import (
	"errors"
	"io"
	"net/http"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// outflow is an answer on its way to the client.
type outflow struct {
	x       *exchange
	answer  *http.Response
	length  int64
	control *http.ResponseController
	begun   bool
	ended   error
}

// opened begins an answer that comes in pieces.
func (x *exchange) opened(answer *http.Response, length int64) *outflow {
	return &outflow{x: x, answer: answer, length: length, control: http.NewResponseController(x.w)}
}

// begin records the head and sends it, so that a client that watches knows that
// it does.
func (o *outflow) begin() bool {
	if o.begun {
		return true
	}
	o.begun = true
	if err := o.x.asked.Record(protocol.Response, head(o.answer)); err != nil {
		o.ended = err
		o.x.unrecorded(err)
		return false
	}
	o.x.start(o.answer, o.length)
	o.flush()
	return true
}

// pass records a piece and sends it. It reports whether the answer goes on.
func (o *outflow) pass(piece []byte) bool {
	if o.ended != nil || !o.begin() {
		return false
	}
	if err := o.x.asked.Record(protocol.Response, piece); err != nil {
		o.ended = err
		o.x.session.Fail(err)
		return false
	}
	if _, err := o.x.w.Write(piece); err != nil {
		o.ended = err
		return false
	}
	o.flush()
	return true
}

// flush sends what was written, where nobody knows how much more comes and when.
func (o *outflow) flush() {
	if o.length < 0 {
		_ = o.control.Flush() // a client that is gone is noticed by the next write
	}
}

// close ends the answer, by the error that ended its reading. The client must
// not take what broke off for the whole.
func (o *outflow) close(err error) {
	if o.ended != nil {
		panic(http.ErrAbortHandler) // the client must not take it for the whole
	}
	if !o.begin() {
		return
	}
	if errors.Is(err, io.EOF) {
		o.x.end(outcome(o.answer))
		return
	}
	if o.x.r.Context().Err() != nil {
		o.x.end(protocol.Outcome{Status: protocol.Abandoned, Code: code(o.answer.StatusCode)})
	} else {
		o.x.end(protocol.Outcome{Status: protocol.Failed, Code: code(o.answer.StatusCode)})
	}
	panic(http.ErrAbortHandler)
}
