package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// streamBytes is how much a peer may send on a stream that nobody takes: the
	// two of a channel share a window, with what packets of an ordinary size
	// have around them.
	streamBytes = 1<<20 + 32<<10
	// slackBytes is how much more may come on a leg: requests, keystrokes,
	// windows, and what small packets have around them.
	slackBytes = 8 << 20
	// aroundShare is the share that packets of the largest size have around
	// them.
	aroundShare = 512
	// restful is how long a reader waits before it is known to wait, and not to
	// be on its way with what was there already.
	restful = 20 * time.Millisecond
)

// intake bounds the memory for what the peer of a leg sent and nobody takes yet.
// The library bounds it by windows, which count bytes and not packets: a window
// full of packets of one byte takes seventy times as much memory. Their bytes on
// the wire say how many there are at most. So once more came than was taken,
// windows and slack allow, the leg is not read until every stream is taken,
// which is when a reader waits for each.
type intake struct {
	over chan struct{} // the leg is closed

	mu      sync.Mutex
	closed  bool                 // guarded by mu
	bytes   int64                // that came and were not taken since all was; guarded by mu
	streams map[*stream]struct{} // that are open; guarded by mu
}

func newIntake() *intake {
	return &intake{over: make(chan struct{}), streams: map[*stream]struct{}{}}
}

// admit waits until the leg may be read.
func (i *intake) admit() error {
	for !i.admits(time.Now()) {
		select {
		case <-i.over:
			return net.ErrClosed
		case <-time.After(restful):
		}
	}
	return nil
}

func (i *intake) admits(now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.bytes <= slackBytes+int64(len(i.streams))*streamBytes {
		return true
	}
	for s := range i.streams {
		switch {
		case s.ended: // a peer that goes on nevertheless says it to nobody
			_, _ = io.Copy(io.Discard, s.ReadWriter) // it does not wait for more
		case s.waits.IsZero() || now.Sub(s.waits) < restful:
			return false
		}
	}
	i.bytes = 0
	return true
}

// arrived counts what was read of the leg.
func (i *intake) arrived(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bytes += int64(n)
}

// waits notes that a reader waits for a stream.
func (i *intake) waits(s *stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s.waits = time.Now()
}

// took notes that it waits no more, and what it took. Each packet of that had
// something around it.
func (i *intake) took(s *stream, n int, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s.waits = time.Time{}
	i.bytes = max(0, i.bytes-int64(n)-int64(n)/aroundShare)
	s.ended = n == 0 && errors.Is(err, io.EOF)
}

// forget takes streams out on which nothing can come any more.
func (i *intake) forget(streams ...*stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range streams {
		delete(i.streams, s)
	}
}

// stream returns a stream of a channel that has just been opened.
func (i *intake) stream(of io.ReadWriter) *stream {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := &stream{ReadWriter: of, intake: i}
	i.streams[s] = struct{}{}
	return s
}

func (i *intake) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closed {
		i.closed = true
		close(i.over)
	}
}

// metered is a leg with its intake.
type metered struct {
	net.Conn
	intake *intake
}

// Read implements io.Reader.
func (m *metered) Read(b []byte) (int, error) {
	if err := m.intake.admit(); err != nil {
		return 0, err
	}
	n, err := m.Conn.Read(b)
	m.intake.arrived(n)
	return n, err
}

// Close implements io.Closer.
func (m *metered) Close() error {
	m.intake.close()
	return m.Conn.Close()
}

// channel is a channel whose streams are counted in an intake. Whoever takes no
// more of it calls drop; when its requests have ended, gone has to be called.
type channel struct {
	ssh.Channel
	out, errs *stream
	drop      context.CancelFunc // what still comes; nobody may be reading what counts
}

// counted returns a channel of a leg. run runs what drops the rest.
func counted(ctx context.Context, run func(func()), of ssh.Channel, in *intake) *channel {
	ctx, drop := context.WithCancel(ctx)
	c := &channel{Channel: of, drop: drop, out: in.stream(of), errs: in.stream(of.Stderr())}
	for _, s := range []*stream{c.out, c.errs} {
		run(func() {
			<-ctx.Done()
			_, _ = io.Copy(io.Discard, s) // until the peer closes it too
		})
	}
	return c
}

// gone notes that the peer has closed it too.
func (c *channel) gone() { c.out.intake.forget(c.out, c.errs) }

// Read implements io.Reader.
func (c *channel) Read(b []byte) (int, error) { return c.out.Read(b) }

// Stderr is the other stream.
func (c *channel) Stderr() io.ReadWriter { return c.errs }

// stream is one direction of a channel that the peer writes.
type stream struct {
	io.ReadWriter
	intake *intake
	waits  time.Time // since when a reader waits; zero: none does; guarded by the intake's mu
	ended  bool      // the peer said that nothing more comes; guarded by the intake's mu

	mu sync.Mutex // one reader at a time: the library wakes only one at the end
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake.waits(s)
	n, err := s.ReadWriter.Read(b)
	s.intake.took(s, n, err)
	return n, err
}
