package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// server is one connection to the server, which is asked over HTTP/1.1 (RFC
// 9112), one request at a time. Whoever asks writes the request and reads the
// answer by itself: to wake another goroutine for it would take longer than the
// rest of what happens here.
type server struct {
	below *legBelow // the connection without its TLS
	conn  net.Conn
	head  headLimit
	in    *bufio.Reader
	out   *bufio.Writer
	used  bool // a request was sent on it
}

// inlineBytes is how large a body may be that is written before the answer is
// looked for: sockets take it even where the server reads none of it.
const inlineBytes = 16 << 10

func newServer(below *legBelow, conn net.Conn) *server {
	c := &server{below: below, conn: conn, head: headLimit{from: conn}}
	c.in, c.out = bufio.NewReader(&c.head), bufio.NewWriter(conn)
	return c
}

// close ends the connection, and what waits for it.
func (c *server) close() { _ = c.below.Close() }

// quiet reports whether nothing came since the last answer: neither an end, nor
// an answer to nothing, which would be taken for that to the next request.
func (c *server) quiet() bool {
	if !c.used {
		return true
	}
	c.below.looks = true
	_, err := c.in.Peek(1)
	c.below.looks = false
	return errors.Is(err, unix.EAGAIN)
}

// ask sends a request, and returns the answer once its header is there. done is
// called once, when the body was read to its end or is closed, and told whether
// the connection can be used again. The end of the request's context ends the
// connection.
func (c *server) ask(out *http.Request, done func(again bool)) (*http.Response, error) {
	c.used = true
	stop := context.AfterFunc(out.Context(), c.close)
	sent := c.send(out)
	answer, err := c.answer(out, sent)
	if err != nil {
		stop()
		c.close()
		_ = out.Body.Close()
		sent.wait()
		done(false)
		if cause := out.Context().Err(); cause != nil {
			err = cause
		}
		return nil, err
	}
	body := &answerBody{ReadCloser: answer.Body}
	body.end = func(whole bool) {
		over, failed := sent.sent()
		again := whole && over && failed == nil && !answer.Close && answer.StatusCode >= http.StatusOK && c.in.Buffered() == 0
		if again = stop() && again; !again {
			c.close()
			_ = out.Body.Close()
			sent.wait()
		}
		done(again)
	}
	if answer.Body == http.NoBody {
		body.once.Do(func() { body.end(true) })
		return answer, nil
	}
	answer.Body = body
	return answer, nil
}

// sending is a request on its way.
type sending struct {
	over chan struct{} // closed when err is there; nil: it is
	err  error
}

// wait waits until nobody writes the request any more.
func (s *sending) wait() {
	if s.over != nil {
		<-s.over
	}
}

// sent reports whether nobody writes the request any more, and why it could not
// be sent.
func (s *sending) sent() (over bool, err error) {
	if s.over == nil {
		return true, s.err
	}
	select {
	case <-s.over:
		return true, s.err
	default:
		return false, nil
	}
}

// send writes a request: a long one beside the reading of the answer, which may
// come before its end.
func (c *server) send(out *http.Request) *sending {
	if out.ContentLength >= 0 && out.ContentLength <= inlineBytes {
		return &sending{err: c.write(out)}
	}
	s := &sending{over: make(chan struct{})}
	go func() {
		defer close(s.over)
		s.err = c.write(out)
	}()
	return s
}

// write writes a request. Where what the client sends broke off, the server must
// not wait for the rest.
func (c *server) write(out *http.Request) error {
	var to io.Writer = c.out // by which net/http knows that each chunk is to be flushed
	if out.ContentLength > 0 {
		to = &pieces{c.out, min(out.ContentLength, pieceBytes)}
	}
	err := out.Write(to)
	if err == nil {
		err = c.out.Flush()
	}
	var failed *net.OpError
	if err != nil && !errors.As(err, &failed) {
		c.close()
	}
	return err
}

// pieces is a writer that sends what is read of a body as it comes.
type pieces struct {
	*bufio.Writer
	size int64 // of a piece
}

// ReadFrom implements io.ReaderFrom.
func (p *pieces) ReadFrom(body io.Reader) (n int64, err error) {
	for piece := make([]byte, p.size); ; {
		read, err := body.Read(piece)
		n += int64(read)
		if _, failed := p.Write(piece[:read]); failed != nil {
			return n, failed
		}
		if failed := p.Flush(); failed != nil {
			return n, failed
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// answer reads the header of the answer, behind those that only say that there
// will be one (RFC 9110, section 15.2).
func (c *server) answer(out *http.Request, sent *sending) (*http.Response, error) {
	c.head.begin()
	defer c.head.end()
	for {
		answer, err := http.ReadResponse(c.in, out)
		switch {
		case err != nil:
			if _, failed := sent.sent(); failed != nil {
				err = failed
			}
			return nil, err
		case answer.StatusCode >= http.StatusOK || answer.StatusCode == http.StatusSwitchingProtocols:
			return answer, nil
		}
	}
}

// answerBody is the body of an answer. It tells when it ends.
type answerBody struct {
	io.ReadCloser
	once sync.Once
	end  func(whole bool)
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.once.Do(func() { b.end(errors.Is(err, io.EOF)) })
	}
	return n, err
}

// Close implements io.Closer. What was not read is not waited for.
func (b *answerBody) Close() error {
	b.once.Do(func() { b.end(false) })
	return nil
}

// headLimit reads a connection, and no more than so many bytes of a header.
type headLimit struct {
	from   io.Reader
	header bool // one is read
	left   int  // of it
}

// begin is called before a header is read, end behind it.
func (l *headLimit) begin() { l.header, l.left = true, headerBytes }

func (l *headLimit) end() { l.header = false }

// Read implements io.Reader.
func (l *headLimit) Read(p []byte) (int, error) {
	if !l.header {
		return l.from.Read(p)
	}
	if l.left == 0 {
		return 0, errLong
	}
	n, err := l.from.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// legBelow is a server leg below its TLS, that can be looked at.
type legBelow struct {
	net.Conn
	raw   syscall.RawConn
	looks bool // a Read finds what is there, and does not wait

	// Of a look, which is made of no new memory:
	look  func(fd uintptr) bool
	into  []byte
	found int
	err   error
}

// newLegBelow takes a connection that is a socket.
func newLegBelow(conn net.Conn) (*legBelow, error) {
	via, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the server leg is no socket")
	}
	raw, err := via.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &legBelow{Conn: conn, raw: raw}
	l.look = func(fd uintptr) bool {
		l.found, l.err = unix.Read(int(fd), l.into) // which does not wait: the Go runtime does that for sockets
		return true
	}
	return l, nil
}

// Read implements io.Reader.
func (l *legBelow) Read(p []byte) (n int, err error) {
	if !l.looks || len(p) == 0 {
		return l.Conn.Read(p)
	}
	l.into = p
	err = l.raw.Read(l.look)
	l.into = nil
	switch {
	case err != nil:
		return 0, err
	case l.err != nil:
		return 0, l.err
	case l.found == 0:
		return 0, io.EOF
	}
	return l.found, nil
}
