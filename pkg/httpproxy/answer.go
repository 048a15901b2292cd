package httpproxy

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// forward sends a request that was allowed, and gives the client its answer.
func (x *exchange) forward() {
	s := x.session
	defer x.end(protocol.Outcome{Status: protocol.Abandoned}) // where nothing else ended it
	out := x.outgoing()
	answer, err := s.servers.send(out, x.asked.Op.ReadOnly)
	if err != nil {
		x.unanswered(err)
		return
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	if answer.StatusCode == http.StatusUnauthorized {
		x.end(protocol.Outcome{Status: protocol.Failed, Code: "401"})
		x.refuse(&Refusal{Code: http.StatusBadGateway, Message: "sluice: the server did not accept the agent's credential"})
		return
	}
	if answer.StatusCode < 200 {
		x.end(protocol.Outcome{Status: protocol.Failed, Code: code(answer.StatusCode)})
		x.refuse(&Refusal{Code: http.StatusBadGateway, Message: "sluice: the server answered with what was not asked for"})
		return
	}
	x.answer(answer)
}

// outgoing is the request as the server gets it.
func (x *exchange) outgoing() *http.Request {
	if x.upload == nil {
		return x.session.Outgoing(x.r.Context(), x.r, x.body.bytes)
	}
	out := x.session.Outgoing(x.r.Context(), x.r, nil)
	out.Body, out.ContentLength = x.upload, x.r.ContentLength
	return out
}

// unanswered is for a server that did not answer.
func (x *exchange) unanswered(err error) {
	if cut := x.upload.faulty(); cut != nil && (x.r.Context().Err() == nil || x.session.faulty() != nil) {
		x.end(protocol.Outcome{Status: cut.status, Code: code(cut.Code)})
		x.refuse(cut.Refusal)
		return
	}
	if x.r.Context().Err() != nil {
		x.end(protocol.Outcome{Status: protocol.Abandoned})
		x.gone()
		return
	}
	x.end(protocol.Outcome{Status: protocol.Failed})
	x.refuse(&Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: " + safely(err)})
}

// answer gives the client what the server answered, masked.
func (x *exchange) answer(answer *http.Response) {
	removeHops(answer.Header)
	for _, name := range private {
		answer.Header.Del(name)
	}
	secrets := x.session.site.Login.secretive()
	x.clean(answer, secrets)
	var masking *Masking
	if of := x.session.site.Masking; of != nil {
		var err error
		if masking, err = of(&x.asked.Op, answer); err != nil {
			x.hidden(refusedBy(err, http.StatusBadGateway, "the answer cannot be masked, so it is not shown"))
			return
		}
	}
	bare := x.r.Method == http.MethodHead || answer.StatusCode == http.StatusNoContent || answer.StatusCode == http.StatusNotModified
	masked := masking != nil && (masking.Document != nil || masking.Text || masking.Nothing)
	if encoding := answer.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") && !bare && (masked || secrets != nil) {
		x.hidden(&Refusal{Code: http.StatusBadGateway, Message: "sluice: the answer is compressed and cannot be looked into, so it is not shown"})
		return
	}
	if masked {
		for _, name := range telling {
			answer.Header.Del(name)
		}
	}
	switch {
	case bare:
		x.bare(answer, masked)
	case masked && masking.Nothing:
		x.asked.Hid(1)
		answer.Header.Del("Content-Type")
		x.bare(answer, masked)
	case masked && masking.Document != nil && masking.Sequence:
		x.sequence(answer, masking)
	case masked && masking.Document != nil:
		x.document(answer, masking)
	case masked:
		x.text(answer)
	default:
		x.stream(answer)
	}
}

// clean takes out of an answer what the agent logs in with, and out of its
// header what the detectors find.
func (x *exchange) clean(answer *http.Response, secrets *secretive) {
	if secrets != nil {
		secrets.header(answer.Header)
		answer.Body = secrets.body(answer.Body)
	}
	answer.Status = code(answer.StatusCode) + " " + http.StatusText(answer.StatusCode) // the server's words are not shown
	masks := x.session.conn.Masks
	if len(masks.Detect) == 0 {
		return
	}
	for name, values := range answer.Header {
		for i, value := range values {
			clean, found, null := masks.AppendClean(nil, x.session.conn.MaskKey, []byte(value))
			if null {
				delete(answer.Header, name)
				x.asked.Hid(1)
				break
			}
			values[i] = string(clean)
			x.asked.Hid(found)
		}
	}
}

// private are fields of an answer that concern the agent's login, or lead a
// client past the agent.
var private = []string{
	"Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Authentication-Info", "Alt-Svc", "Clear-Site-Data", "Content-Length",
}

// telling are fields that say something of a value that is masked.
var telling = []string{"Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges", "Content-Range"}

// shown are the fields of an answer that are recorded.
var shown = []string{"Content-Type", "Content-Encoding", "Location", "Warning", "Audit-Id"}

// head is what is recorded of an answer's header.
func head(answer *http.Response) []byte {
	text := append(make([]byte, 0, 512), answer.Status...)
	for _, name := range shown {
		for _, value := range answer.Header[name] {
			text = append(append(append(append(text, '\n'), name...), ": "...), value...)
		}
	}
	return append(text, "\n\n"...)
}

// start writes the header to the client. A length below zero is not known.
func (x *exchange) start(answer *http.Response, length int64) {
	to := x.w.Header()
	for name, values := range answer.Header {
		if said := to[name]; said != nil {
			values = append(said, values...)
		}
		to[name] = values
	}
	if _, ok := to["Content-Type"]; !ok {
		to["Content-Type"] = nil // so that none is guessed
	}
	if length >= 0 {
		to.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	x.w.WriteHeader(answer.StatusCode)
}

// outcome is how an operation ends that the server answered.
func outcome(answer *http.Response) protocol.Outcome {
	ended := protocol.Outcome{Status: protocol.OK, Code: code(answer.StatusCode), Tag: http.StatusText(answer.StatusCode)}
	if answer.StatusCode >= 400 {
		ended.Status = protocol.Failed
	}
	return ended
}

// hidden refuses an answer that cannot be shown.
func (x *exchange) hidden(refusal *Refusal) {
	x.end(protocol.Outcome{Status: protocol.Refused, Code: code(refusal.Code)})
	x.refuse(refusal)
}

// bare gives an answer that has no body. The length of one that is masked would
// tell of its values.
func (x *exchange) bare(answer *http.Response, masked bool) {
	if err := x.finish(head(answer), outcome(answer)); err != nil {
		x.unrecorded(err)
		return
	}
	length := int64(-1)
	if x.r.Method == http.MethodHead && !masked {
		length = answer.ContentLength
	}
	x.start(answer, length)
}

// unrecorded refuses an answer that could not be recorded, and ends the
// session.
func (x *exchange) unrecorded(err error) {
	x.session.Fail(err)
	x.refuse(&Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: the answer could not be recorded, so it is not shown"})
}

// stream gives an answer as it comes, each piece once it is recorded. One that
// is short is recorded with its end.
func (x *exchange) stream(answer *http.Response) {
	if n := answer.ContentLength; n >= 0 && n < pieceBytes {
		x.short(answer, n)
		return
	}
	piece := make([]byte, pieceBytes)
	out := x.opened(answer, answer.ContentLength)
	if !out.begin() {
		return
	}
	for {
		n, err := answer.Body.Read(piece)
		if n > 0 && !out.pass(piece[:n]) {
			err = protocol.ErrEnded
		}
		if err != nil {
			out.close(err)
			return
		}
	}
}

// short gives an answer of a piece.
func (x *exchange) short(answer *http.Response, n int64) {
	text := head(answer)
	at := len(text)
	text = slices.Grow(text, int(n))[:at+int(n)]
	if _, err := io.ReadFull(answer.Body, text[at:]); err != nil {
		x.broken()
		return
	}
	if err := x.finish(text, outcome(answer)); err != nil {
		x.unrecorded(err)
		return
	}
	x.start(answer, n)
	_, _ = x.w.Write(text[at:]) // a client that is gone is noticed elsewhere
}

// broken is for an answer that ended in its middle before the client saw any of
// it.
func (x *exchange) broken() {
	if x.r.Context().Err() != nil {
		x.end(protocol.Outcome{Status: protocol.Abandoned})
		x.gone()
		return
	}
	x.end(protocol.Outcome{Status: protocol.Failed})
	x.refuse(&Refusal{Code: http.StatusBadGateway, Message: "sluice: the server's answer broke off"})
}
