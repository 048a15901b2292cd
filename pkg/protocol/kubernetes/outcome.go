package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// ending is what is read of the metav1.Status at the end of a program.
type ending struct {
	Status  string
	Reason  string
	Details struct {
		Causes []struct{ Reason, Message string }
	}
}

// outcomeOf reads how a program ended.
func outcomeOf(text []byte) (outcome protocol.Outcome, plain bool) {
	var s ending
	if json.Unmarshal(text, &s) != nil {
		return protocol.Outcome{Status: protocol.Failed}, false
	}
	if s.Status == "Success" {
		return protocol.Outcome{Status: protocol.OK}, true
	}
	if s.Reason == "NonZeroExitCode" {
		for _, cause := range s.Details.Causes {
			if code, err := strconv.ParseUint(cause.Message, 10, 8); cause.Reason == "ExitCode" && err == nil {
				return protocol.Outcome{Status: protocol.Failed, Code: fmt.Sprintf("exit %d", code)}, true
			}
		}
	}
	return protocol.Outcome{Status: protocol.Failed, Code: protocol.Printable(s.Reason[:min(len(s.Reason), 64)])}, false
}

func sizeText(width, height uint16) string { return fmt.Sprintf("%dx%d", width, height) }

// sizeJSON is a size as the server takes it.
func sizeJSON(text string) []byte {
	width, height, _ := strings.Cut(text, "x")
	return fmt.Appendf(nil, "{\"Width\":%s,\"Height\":%s}\n", width, height)
}

func (x *execution) fromServer(h happening) error {
	if h.kind == left || x.u.ctx.Err() != nil { // what ends because we end says nothing of why
		return errLeft
	}
	r, known := x.roleOf(h.stream)
	if !known || h.kind == replied {
		return nil
	}
	switch h.kind {
	case came:
		return x.said(r, h.data)
	case ended, reset:
		if err := x.flush(r); err != nil {
			return err
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.over[r] = true
		if h.kind == ended {
			return x.u.client.end(h.stream)
		}
		return x.u.client.write(func(dst []byte) []byte { return x.u.client.framing.reset(dst, h.stream) })
	}
	return nil
}

// said takes what the server says on a stream.
func (x *execution) said(r role, data []byte) error {
	switch {
	case r == failure:
		x.status = append(x.status, data...)
		if len(x.status) > maxStatus {
			x.status = nil
			return violation(protocol.ServerLeg, broken("a status that is too long"))
		}
		if whole := bytes.TrimSpace(x.status); bytes.HasSuffix(whole, []byte("}")) && json.Valid(whole) {
			return x.conclude()
		}
		return nil
	case r != stdout && r != stderr:
		return violation(protocol.ServerLeg, broken("data on a stream that only the client writes"))
	case x.mask[r] == nil:
		return x.output(r, data)
	case !x.mask[r].Write(data):
		return errLeft
	}
	return nil
}

// output records what a program wrote and gives it to the client.
func (x *execution) output(r role, chunk []byte) error {
	stream := protocol.Response
	if r == stderr {
		stream = protocol.Errors
	}
	if err := x.u.record(x.u.op, stream, chunk); err != nil {
		return err
	}
	if err := x.u.client.chunk(x.numberOf(r), chunk); err != nil {
		return errLeft
	}
	return nil
}

// flush lets go of what is kept back of a stream that ends.
func (x *execution) flush(r role) error {
	switch {
	case r == failure && len(x.status) > 0:
		return x.conclude()
	case x.mask[r] != nil:
		x.mask[r].Close()
	}
	return nil
}

// conclude tells the client how its program ended. What is no more than its exit
// status stands in the outcome; a text is recorded as what the client shows.
func (x *execution) conclude() error {
	text, plain := x.status, false
	x.status = nil
	x.outcome, plain = outcomeOf(text)
	if !plain {
		clean, hidden := x.u.clean(text)
		x.u.op.Hid(hidden)
		if text = clean; !json.Valid(text) {
			text = statusOf(&httpproxy.Refusal{Code: http.StatusInternalServerError, Message: "sluice: how it ended cannot be shown"})
		}
		if err := x.u.record(x.u.op, protocol.Errors, text); err != nil {
			return err
		}
	}
	if x.u.client.chunk(x.numberOf(failure), text) != nil {
		return errLeft
	}
	return nil
}

func (x *execution) finish() protocol.Outcome {
	var err error
	for _, r := range []role{stdout, stderr, failure} {
		err = errors.Join(err, x.flush(r))
	}
	x.input.close()
	if x.outcome.Status != "" {
		x.mu.Lock()
		defer x.mu.Unlock()
		_ = x.endAll() // a client that is gone is noticed elsewhere
		return x.outcome
	}
	select {
	case <-x.u.left:
	default:
		if err == nil {
			_ = x.fail(http.StatusInternalServerError, x.u.lost())
		}
	}
	return protocol.Outcome{Status: protocol.Abandoned}
}
