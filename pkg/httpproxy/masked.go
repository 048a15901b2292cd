package httpproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// document gives an answer that is one document.
func (x *exchange) document(answer *http.Response, masking *Masking) {
	read := whole{session: x.session}
	defer read.close()
	err := read.read(answer.Body, documentBytes)
	if errors.Is(err, errLong) || errors.Is(err, errRoom) {
		x.hidden(&Refusal{Code: http.StatusBadGateway, Message: "sluice: the answer is too large to be masked, so it is not shown"})
		return
	}
	if err != nil {
		x.broken()
		return
	}
	masked, values, err := masking.Document(read.bytes)
	if err != nil {
		x.hidden(refusedBy(err, http.StatusBadGateway, "the answer cannot be masked, so it is not shown"))
		return
	}
	x.asked.Hid(values)
	if err := x.finish(append(head(answer), masked...), outcome(answer)); err != nil {
		x.unrecorded(err)
		return
	}
	x.start(answer, int64(len(masked)))
	_, _ = x.w.Write(masked) // a client that is gone is noticed elsewhere
}

// sequence gives an answer that is one document after the other.
func (x *exchange) sequence(answer *http.Response, masking *Masking) {
	out := x.opened(answer, -1)
	if !out.begin() {
		return
	}
	from := &bounded{from: answer.Body}
	documents := json.NewDecoder(from)
	var document json.RawMessage
	for {
		from.left = documentBytes
		if err := documents.Decode(&document); err != nil {
			out.close(err)
			return
		}
		masked, values, err := masking.Document(document)
		if err != nil {
			out.close(err)
			return
		}
		x.asked.Hid(values)
		if !out.pass(append(bytes.TrimRight(masked, "\n"), '\n')) {
			out.close(protocol.ErrEnded)
			return
		}
	}
}

// bounded is a reader that gives so many bytes for each document.
type bounded struct {
	from io.Reader
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// text gives an answer that is a text without end, as a log.
func (x *exchange) text(answer *http.Response) {
	out := x.opened(answer, -1)
	if !out.begin() {
		return
	}
	masking := x.session.conn.NewMasking(x.asked, out.pass)
	piece := make([]byte, pieceBytes)
	for {
		n, err := answer.Body.Read(piece)
		if n > 0 && !masking.Write(piece[:n]) {
			err = protocol.ErrEnded
		}
		if err != nil {
			masking.Close()
			out.close(err)
			return
		}
	}
}
