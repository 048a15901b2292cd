package ssh

import (
	"context"
	"io"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

const (
	// windowBytes is how much a peer may send on a stream of a channel that
	// nobody takes, with what packets of an ordinary size have around it.
	windowBytes = 2<<20 + 64<<10
	// slackBytes is how much more may come on a leg on which a stream is not
	// taken: requests, keystrokes, windows.
	slackBytes = 8 << 20
	// aroundShare is the share that packets of the largest size have around
	// them.
	aroundShare = 512
)

// intake bounds the memory for what the peer of a leg sent and nobody takes yet.
// The library bounds it by windows, which count bytes and not packets: a window
// full of packets of one byte takes seventy times as much memory. Their bytes on
// the wire say how many there are at most. So when more came since everything
// was taken than windows and slack allow, the leg is not read until a stream is.
//
// Everything is taken while somebody waits for each open stream.
type intake struct {
	mu     sync.Mutex
	change sync.Cond // behind is smaller, or closed
	behind int       // streams that nobody waits for; guarded by mu
	bytes  int64     // that came and were not taken since behind was 0; guarded by mu
	closed bool      // guarded by mu
}

func newIntake() *intake {
	i := new(intake)
	i.change.L = &i.mu
	return i
}

// admit waits until the leg may be read.
func (i *intake) admit() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for i.behind > 0 && i.bytes > slackBytes+int64(i.behind)*windowBytes && !i.closed {
		i.change.Wait()
	}
	if i.closed {
		return net.ErrClosed
	}
	return nil
}

// arrived counts what was read of the leg.
func (i *intake) arrived(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.behind > 0 {
		i.bytes += int64(n)
	}
}

// took counts what was taken from a stream, and by how many there are more that
// nobody waits for. Each of its packets had at least that much around it.
func (i *intake) took(n, more int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bytes = max(0, i.bytes-int64(n)-int64(n)/aroundShare)
	i.behind += more
	if i.behind == 0 {
		i.bytes = 0
	}
	i.change.Broadcast()
}

func (i *intake) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.change.Broadcast()
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

// channel is a channel whose streams are counted in an intake. What comes after
// Close is dropped.
type channel struct {
	ssh.Channel
	out, errs *stream
	shut      context.CancelFunc
}

// counted returns a channel of a leg. It takes no room any more when it has ended
// or the session has; go runs what sees to that.
func counted(ctx context.Context, run func(func()), of ssh.Channel, in *intake) *channel {
	in.took(0, 2)
	ctx, shut := context.WithCancel(ctx)
	c := &channel{
		Channel: of, shut: shut,
		out: &stream{ReadWriter: of, intake: in}, errs: &stream{ReadWriter: of.Stderr(), intake: in},
	}
	for _, s := range []*stream{c.out, c.errs} {
		run(func() {
			<-ctx.Done()
			_, _ = io.Copy(io.Discard, s) // until the peer closes it too
		})
	}
	return c
}

// Read implements io.Reader.
func (c *channel) Read(b []byte) (int, error) { return c.out.Read(b) }

// Stderr is the other stream.
func (c *channel) Stderr() io.ReadWriter { return c.errs }

// Close implements io.Closer.
func (c *channel) Close() error {
	err := c.Channel.Close()
	c.shut()
	return err
}

// stream is one direction of a channel that the peer writes.
type stream struct {
	io.ReadWriter
	intake *intake

	mu   sync.Mutex // one reader at a time: the library wakes only one at the end
	over bool       // nothing more can come; guarded by mu
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0, io.EOF
	}
	s.intake.took(0, -1)
	n, err := s.ReadWriter.Read(b)
	s.over = err != nil
	if s.over {
		s.intake.took(n, 0)
	} else {
		s.intake.took(n, 1)
	}
	return n, err
}
