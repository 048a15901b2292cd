package git

import (
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
	post    func(ctx context.Context, body io.ReadCloser) (io.ReadCloser, error)
	ctx     context.Context
	cancel  context.CancelFunc
	body    *io.PipeReader
	to      *io.PipeWriter

	begin    sync.Once
	answered chan struct{} // closed when answer and err are there
	answer   io.ReadCloser
	err      error
}

func newUpload(ctx context.Context, offered io.ReadCloser, post func(context.Context, io.ReadCloser) (io.ReadCloser, error)) *upload {
	u := &upload{offered: offered, post: post, answered: make(chan struct{})}
	u.ctx, u.cancel = context.WithCancel(ctx)
	u.body, u.to = io.Pipe()
	return u
}

// Write implements io.Writer. The first one starts the request.
func (u *upload) Write(p []byte) (int, error) {
	u.begin.Do(func() {
		go func() {
			defer close(u.answered)
			u.answer, u.err = u.post(u.ctx, u.body)
			if u.err != nil {
				_ = u.body.CloseWithError(u.err) // nobody reads it
			}
		}()
	})
	return u.to.Write(p)
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
func (u *upload) CloseWrite() error { return u.to.Close() }

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
