package httpproxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"time"
)

// heldBytes is how much of an answer without a length is held, so that it gets
// one where that is all.
const heldBytes = 2 << 10

var errLength = errors.New("the answer has not the length that it says")

// reply is the answer to a request over HTTP/1.1, as net/http's handlers write
// it.
type reply struct {
	client *client
	r      *http.Request
	body   *receivedBody
	header http.Header

	mu       sync.Mutex // the body is read beside the answer, and may be asked for
	status   int        // 0: none is said yet
	begun    bool       // the header is written
	held     []byte     // of the body, until then
	left     int64      // of the length that it says; below zero: it says none
	chunks   io.WriteCloser
	err      error // the first of a write
	closes   bool  // the leg is to be closed behind it
	hijacked bool
}

func newReply(c *client, r *http.Request, body *receivedBody) *reply {
	return &reply{client: c, r: r, body: body, header: http.Header{}, left: -1, closes: r.Close || !r.ProtoAtLeast(1, 1)}
}

// Header implements http.ResponseWriter.
func (w *reply) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. The header may be changed until
// more than a little is written.
func (w *reply) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.status = status
	}
}

// Write implements io.Writer.
func (w *reply) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	if !w.begun && w.header["Content-Length"] == nil && len(w.held)+len(p) <= heldBytes {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	w.begin()
	w.write(p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// FlushError is for http.ResponseController.
func (w *reply) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin()
	w.flush()
	return w.err
}

// SetReadDeadline is for http.ResponseController.
func (w *reply) SetReadDeadline(at time.Time) error { return w.client.conn.SetReadDeadline(at) }

// Hijack implements http.Hijacker.
func (w *reply) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hijacked || w.begun {
		return nil, nil, http.ErrHijacked
	}
	w.hijacked = true
	w.client.session.hijacked()
	return w.client.conn, bufio.NewReadWriter(w.client.in, w.client.out), nil
}

// goOn tells the client to send the body, unless it has its answer.
func (w *reply) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.body.first = nil
	if !w.begun && !w.hijacked {
		_, err := w.client.out.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
		w.fail(err)
		w.flush()
	}
}

// finish ends the answer, and reports whether the client has it.
func (w *reply) finish() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun && !w.bare() && w.header["Content-Length"] == nil {
		w.header.Set("Content-Length", strconv.Itoa(len(w.held)))
	}
	w.begin()
	if w.chunks != nil {
		w.fail(w.chunks.Close())
		_, err := w.client.out.WriteString("\r\n")
		w.fail(err)
	}
	if w.left > 0 && !w.bare() {
		w.fail(errLength)
	}
	w.flush()
	return w.err == nil
}

// bare reports whether the answer has no body (RFC 9112, section 6.3).
func (w *reply) bare() bool {
	return w.r.Method == http.MethodHead || w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// endless reports whether nothing but the end of the leg ends the answer, as in
// HTTP/1.0.
func (w *reply) endless() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun && !w.bare() && w.chunks == nil && w.left < 0
}

// begin writes the header and what is held. mu is held.
func (w *reply) begin() {
	if w.begun {
		return
	}
	w.begun = true
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.frame()
	if w.header["Date"] == nil {
		w.header["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
	out := w.client.out
	_, err := out.WriteString("HTTP/1.1 " + code(w.status) + " " + http.StatusText(w.status) + "\r\n")
	w.fail(err)
	w.fail(w.header.Write(out))
	_, err = out.WriteString("\r\n")
	w.fail(err)
	held := w.held
	w.held = nil
	w.write(held)
}

// frame says how long the body is, and whether the connection ends behind it.
func (w *reply) frame() {
	w.closes = w.closes || strings.EqualFold(w.header.Get("Connection"), "close") || w.body.first != nil
	w.header.Del("Connection")
	w.header.Del("Transfer-Encoding")
	length, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
	switch {
	case w.bare():
	case err == nil && length >= 0:
		w.left = length
	case w.r.ProtoAtLeast(1, 1):
		w.header.Del("Content-Length")
		w.header.Set("Transfer-Encoding", "chunked")
		w.chunks = httputil.NewChunkedWriter(w.client.out)
	}
	if w.closes {
		w.header.Set("Connection", "close")
	}
}

// write writes a piece of the body. mu is held.
func (w *reply) write(p []byte) {
	if len(p) == 0 || w.bare() || w.err != nil {
		return
	}
	var err error
	switch {
	case w.chunks != nil:
		_, err = w.chunks.Write(p)
	case w.left >= 0 && int64(len(p)) > w.left:
		err = errLength
	default:
		_, err = w.client.out.Write(p)
		w.left -= int64(len(p))
	}
	w.fail(err)
}

// flush sends what is written. mu is held.
func (w *reply) flush() { w.fail(w.client.out.Flush()) }

// fail keeps the first error. mu is held.
func (w *reply) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}
