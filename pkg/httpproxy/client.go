package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// restBytes is how much of a body that nobody read is read to its end, so that the
	// connection can be used again.
	restBytes = 64 << 10
	// lingers is how long a client that sends on is read, so that it sees its answer,
	// and pause how long it may send nothing meanwhile. Many clients look for one only
	// once they have sent all.
	lingers, pause = 10 * time.Second, 500 * time.Millisecond
)

var errTrailer = errors.New("there is a trailer")

// client is a client's leg over HTTP/1.1 (RFC 9112). One goroutine reads a
// request, serves it and writes the answer; net/http has the grammar of requests,
// and what its server refuses besides is refused here.
type client struct {
	session *Session
	conn    net.Conn
	head    headLimit
	in      *bufio.Reader
	out     *bufio.Writer

	mu    sync.Mutex
	rests bool // no request is under way; guarded by mu
	ended bool // the session is; guarded by mu
}

func newClient(s *Session, conn net.Conn) *client {
	c := &client{session: s, conn: conn, head: headLimit{from: conn}}
	c.in, c.out = bufio.NewReader(&c.head), bufio.NewWriter(conn)
	return c
}

// serve serves requests one after the other, until the leg or the session ends.
func (c *client) serve() {
	stop := context.AfterFunc(c.session.ctx, c.end)
	defer stop()
	for patience := c.session.engine.patience.grace; ; patience = c.session.engine.patience.idle {
		r, refused := c.next(patience)
		if refused != 0 {
			c.refuse(refused)
			return
		}
		if r == nil || !c.answer(r) {
			return
		}
	}
}

// end ends what waits for the next request. One that is under way may tell its
// client why it ends.
func (c *client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.rests {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// rest has the leg read for so long, and reports whether it may be. What was
// said last goes before the end of the session.
func (c *client) rest(patience time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rests = true
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	return !c.ended
}

// work ends the rest, and reports whether the request that was read may be served.
func (c *client) work() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rests = false
	return !c.ended
}

// headEnd ends the header of a request.
var headEnd = []byte("\r\n\r\n")

// next reads a request. Both are zero where none came, or not in time; refused is
// the status of one that cannot be served.
func (c *client) next(patience time.Duration) (r *http.Request, refused int) {
	if !c.rest(patience) {
		return nil, 0
	}
	c.head.begin()
	if _, err := c.in.Peek(1); err != nil {
		return nil, 0
	}
	came, _ := c.in.Peek(c.in.Buffered())
	if !bytes.Contains(came, headEnd) && !c.rest(c.session.engine.patience.grace) {
		return nil, 0
	}
	r, err := http.ReadRequest(c.in)
	c.head.end()
	if !c.work() {
		return nil, 0
	}
	var failed *net.OpError
	switch {
	case err != nil && c.head.left == 0:
		return nil, http.StatusRequestHeaderFieldsTooLarge
	case errors.As(err, &failed), errors.Is(err, os.ErrDeadlineExceeded):
		return nil, 0
	case err != nil:
		return nil, http.StatusBadRequest
	}
	return r, implausible(r)
}

// implausible is the status with which net/http's server refuses a request that
// its grammar lets pass, or 0.
func implausible(r *http.Request) int {
	switch {
	case r.ProtoMajor != 1:
		return http.StatusHTTPVersionNotSupported
	case r.Host == "" && r.ProtoAtLeast(1, 1) || !httpguts.ValidHostHeader(r.Host):
		return http.StatusBadRequest
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return http.StatusBadRequest
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return http.StatusBadRequest
			}
		}
	}
	if r.Header["Expect"] != nil && !expects(r) {
		return http.StatusExpectationFailed
	}
	return 0
}

// expects reports whether a client waits for a word before it sends the body
// (RFC 9110, section 10.1.1).
func expects(r *http.Request) bool {
	return len(r.Header["Expect"]) == 1 && strings.EqualFold(r.Header["Expect"][0], "100-continue")
}

// answer serves a request, and reports whether another may follow.
func (c *client) answer(r *http.Request) (more bool) {
	body := &receivedBody{request: r, over: r.Body == http.NoBody}
	w := newReply(c, r, body)
	if expects(r) && r.ContentLength != 0 && r.ProtoAtLeast(1, 1) {
		body.first = w.goOn
	}
	served := r.WithContext(c.session.ctx)
	if !body.over {
		served.Body = body
	}
	defer func() {
		if recover() == nil {
			return
		}
		more = false // http.ErrAbortHandler, or a fault of ours: what was sent must not look whole
		if w.endless() {
			_ = c.session.conn.Client.Close() // unsaid, which resets it
		}
	}()
	c.session.handle(w, served)
	if w.hijacked {
		return false
	}
	if !w.finish() {
		return false
	}
	if !body.rest(c) {
		c.linger()
		return false
	}
	return !w.closes
}

// refuse answers what is no request.
func (c *client) refuse(status int) {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	_, _ = fmt.Fprintf(c.conn, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s", text, text) // it may be gone
	c.linger()
}

// linger lets a client read what it was told: a connection that is closed with
// something unread in it takes that away.
func (c *client) linger() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	end, unread := time.Now().Add(lingers), make([]byte, pieceBytes)
	for err := error(nil); err == nil && time.Now().Before(end); {
		_ = c.conn.SetReadDeadline(time.Now().Add(pause))
		_, err = c.conn.Read(unread)
	}
}

// receivedBody is the body of a request.
type receivedBody struct {
	request *http.Request
	first   func() // before anything is read, which sets it nil; nil: nothing is to be done
	over    bool   // it was read to its end
}

// Read implements io.Reader.
func (b *receivedBody) Read(p []byte) (int, error) {
	if b.first != nil {
		b.first()
	}
	n, err := b.request.Body.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	b.over = true
	if len(b.request.Trailer) > 0 {
		return n, errTrailer // what was read is no whole request: more than anybody looked at belongs to it
	}
	return n, io.EOF
}

// Close implements io.Closer. The rest is read by rest.
func (b *receivedBody) Close() error { return nil }

// rest reads what nobody has read, where it is little, and reports whether
// another request may follow it.
func (b *receivedBody) rest(c *client) bool {
	if b.over {
		return true
	}
	if b.first != nil {
		return false // the client may or may not send it
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(pause))
	_, err := io.CopyN(io.Discard, b, restBytes)
	return errors.Is(err, io.EOF)
}
