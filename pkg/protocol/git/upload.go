package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

// upload is git-receive-pack as a stream: its advertisement, and then the answer
// to one request whose body is what is written.
type upload struct {
	offered io.ReadCloser
	known   bool // all of offered was read; the reader's own
	post    func(ctx context.Context, body io.ReadCloser, length int64) (io.ReadCloser, error)
	ctx     context.Context
	cancel  context.CancelFunc
	held    []byte // written, while it may still be all; the writer's own
	streams bool   // it is more: the request has begun; the writer's own
	body    *io.PipeReader
	to      *io.PipeWriter

	begin    sync.Once
	answered chan struct{} // closed when answer and err are there
	answer   io.ReadCloser
	err      error
}

// maxHeld is how much is sent with its length, as git's own client does
// (git-config, http.postBuffer). Servers need not take a request over HTTP/1.1
// that does not tell its length.
const maxHeld = 1 << 20

func newUpload(ctx context.Context, offered io.ReadCloser, post func(context.Context, io.ReadCloser, int64) (io.ReadCloser, error)) *upload {
	u := &upload{offered: offered, post: post, answered: make(chan struct{})}
	u.ctx, u.cancel = context.WithCancel(ctx)
	u.body, u.to = io.Pipe()
	return u
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	if u.streams {
		return u.to.Write(p)
	}
	if len(u.held)+len(p) <= maxHeld {
		u.held = append(u.held, p...)
		return len(p), nil
	}
	u.streams = true
	u.start(u.body, -1)
	if _, err := u.to.Write(u.held); err != nil {
		return 0, err
	}
	u.held = nil
	return u.to.Write(p)
}

// start begins the request.
func (u *upload) start(body io.ReadCloser, length int64) {
	u.begin.Do(func() {
		go func() {
			defer close(u.answered)
			u.answer, u.err = u.post(u.ctx, body, length)
			if u.err != nil {
				_ = u.body.CloseWithError(u.err) // nobody reads it
			}
		}()
	})
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	if !u.known {
		n, err := u.offered.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		u.known = true
	}
	select {
	case <-u.answered:
	case <-u.ctx.Done():
		return 0, u.ctx.Err()
	}
	if u.err != nil {
		return 0, u.err
	}
	return u.answer.Read(p)
}

// CloseWrite implements gitwire.Stream.
func (u *upload) CloseWrite() error {
	if !u.streams && len(u.held) > 0 {
		u.start(io.NopCloser(bytes.NewReader(u.held)), int64(len(u.held)))
	}
	return u.to.Close()
}

// Close implements io.Closer. It returns when the request has ended.
func (u *upload) Close() error {
	u.cancel()
	_ = u.to.CloseWithError(io.ErrClosedPipe)
	u.begin.Do(func() { close(u.answered) }) // it never began
	<-u.answered
	err := u.offered.Close()
	if u.answer != nil {
		err = errors.Join(err, u.answer.Close())
	}
	return err
}
