package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/sluicegate/sluice/pkg/gitwire"
)

// offer asks the server for a service's advertisement.
func (x *exchange) offer(ctx context.Context, service gitwire.Service, version string) (io.ReadCloser, error) {
	out := x.request(ctx, http.MethodGet, "/info/refs", "service="+string(service), version)
	answer, err := x.send(out, "application/x-"+string(service)+"-advertisement")
	if err != nil {
		return nil, err
	}
	return drained{answer}, nil
}

// drained is an answer whose end follows what is read of it, and is read as
// well, so that its connection can be used again.
type drained struct{ io.ReadCloser }

// Close implements io.Closer.
func (d drained) Close() error {
	_, _ = io.CopyN(io.Discard, d.ReadCloser, 4<<10) // more is not waited for
	return d.ReadCloser.Close()
}

// use sends the server something for a service. The length is that of the body
// where it is known; below zero it is not.
func (x *exchange) use(ctx context.Context, service gitwire.Service, version string, body io.Reader, length int64) (io.ReadCloser, error) {
	out := x.request(ctx, http.MethodPost, "/"+string(service), "", version)
	out.Body, out.ContentLength = io.NopCloser(body), length
	if closer, ok := body.(io.ReadCloser); ok {
		out.Body = closer
	}
	out.Header.Set("Content-Type", "application/x-"+string(service)+"-request")
	out.Header.Set("Accept", "application/x-"+string(service)+"-result")
	return x.send(out, "application/x-"+string(service)+"-result")
}

// send returns the body of an answer of one type.
func (x *exchange) send(out *http.Request, kind string) (io.ReadCloser, error) {
	answer, err := x.to.Send(out)
	if err != nil {
		return nil, errors.Join(unanswered(), err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != kind || answer.Header.Get("Content-Encoding") != "" {
		_ = answer.Body.Close()
		return nil, answered(answer)
	}
	return answer.Body, nil
}

// open starts the service that the client uses.
func (x *exchange) open(ctx context.Context) (gitwire.Stream, error) {
	service, version := x.target.service, x.version()
	if service != gitwire.ReceivePack {
		return newCalls(nil, func(body []byte) (io.ReadCloser, error) {
			return x.use(ctx, service, version, bytes.NewReader(body), int64(len(body)))
		}), nil
	}
	offered, err := x.offer(ctx, service, version)
	if err != nil {
		return nil, err
	}
	plain, err := gitwire.Announced(service, offered)
	if err != nil {
		return nil, errors.Join(err, offered.Close())
	}
	return newUpload(ctx, &advertised{plain, offered}, func(ctx context.Context, body io.ReadCloser, length int64) (io.ReadCloser, error) {
		return x.use(ctx, service, version, body, length)
	}), nil
}

// question starts a service for a question of ours, in protocol v2 where the
// server knows it.
func (x *exchange) question(ctx context.Context, command gitwire.Command) (gitwire.Stream, error) {
	const version = "version=2"
	offered, err := x.offer(ctx, command.Service, version)
	if err != nil {
		return nil, err
	}
	plain, err := gitwire.Announced(command.Service, offered)
	if err != nil {
		return nil, errors.Join(err, offered.Close())
	}
	return newCalls(&advertised{plain, offered}, func(body []byte) (io.ReadCloser, error) {
		return x.use(ctx, command.Service, version, bytes.NewReader(body), int64(len(body)))
	}), nil
}

// advertised is an advertisement without the line that names the service.
type advertised struct {
	io.Reader
	io.Closer
}

// calls is a service as a stream: what is written between two answers is one
// request, and what is read is its answer.
type calls struct {
	post func(body []byte) (io.ReadCloser, error)

	reading sync.Mutex
	answer  io.ReadCloser // nil: none is there; guarded by reading

	mu      sync.Mutex
	changed *sync.Cond
	written []byte // since the last request; guarded by mu
	ended   bool   // nothing more is written; guarded by mu
}

func newCalls(first io.ReadCloser, post func([]byte) (io.ReadCloser, error)) *calls {
	c := &calls{answer: first, post: post}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// Write implements io.Writer.
func (c *calls) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, io.ErrClosedPipe
	}
	c.written = append(c.written, p...)
	c.changed.Broadcast()
	return len(p), nil
}

// Read implements io.Reader.
func (c *calls) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if c.answer != nil {
			n, err := c.answer.Read(p)
			if n > 0 || !errors.Is(err, io.EOF) {
				return n, err
			}
			_ = c.answer.Close()
			c.answer = nil
		}
		body := c.take()
		if body == nil {
			return 0, io.EOF
		}
		answer, err := c.post(body)
		if err != nil {
			return 0, err
		}
		c.answer = answer
	}
}

// take waits for the next request; nil: there is none.
func (c *calls) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.written) == 0 && !c.ended {
		c.changed.Wait()
	}
	body := c.written
	c.written = nil
	return body
}

// CloseWrite implements gitwire.Stream.
func (c *calls) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.changed.Broadcast()
	return nil
}

// Close implements io.Closer. What is being read ends with its context.
func (c *calls) Close() error {
	_ = c.CloseWrite()
	if !c.reading.TryLock() {
		return nil
	}
	defer c.reading.Unlock()
	if c.answer == nil {
		return nil
	}
	return c.answer.Close()
}
