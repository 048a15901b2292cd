package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// graceTime is how long a client may take to be admitted, without the time
	// that its login waits to be decided.
	graceTime = 30 * time.Second
	// lastWords is how long what a server sent before it left may take to reach
	// the client.
	lastWords = 2 * time.Second
)

// session is one connection of a client.
type session struct {
	plugin *SSH
	conn   *protocol.Conn
	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	ahead   *serverLeg // set by the client's first bytes
	preauth ssh.ServerPreAuthConn
	admits  bool // admission is known
	refused error

	client ssh.Conn
	server ssh.Conn
	intake *intake     // of the client leg; the server leg has its own
	noMore atomic.Bool // session channels, by the client's own word

	wait      sync.WaitGroup // all goroutines
	mu        sync.Mutex
	open      int                        // channels; guarded by mu
	closed    *sync.Cond                 // open is smaller
	listening map[string]*protocol.Asked // by host and port; guarded by mu
	fault     error                      // of ours, the first; guarded by mu
}

func newSession(p *SSH, conn *protocol.Conn) *session {
	s := &session{plugin: p, conn: conn, intake: newIntake(), listening: make(map[string]*protocol.Asked)}
	s.closed = sync.NewCond(&s.mu)
	return s
}

// run serves the session to its end.
func (s *session) run(serving context.Context) error {
	s.ctx, s.cancel = context.WithCancel(serving)
	defer s.wait.Wait()
	defer s.cancel()
	client := newWire(s.conn.Client, s.intake)
	stop := context.AfterFunc(s.ctx, func() { _ = client.Close() })
	defer stop()
	config, err := s.admission()
	if err != nil {
		return err
	}
	_ = client.SetDeadline(time.Now().Add(graceTime))
	greeted, err := greet(client)
	if err != nil {
		return s.unadmitted(err)
	}
	s.ahead = reach(s.ctx, s.conn)
	config.Ciphers = offered(client.in)
	leg, channels, requests, err := ssh.NewServerConn(greeted, config)
	if err != nil {
		return s.unadmitted(err)
	}
	_ = client.SetDeadline(time.Time{})
	s.client, s.server = leg, s.ahead.leg
	s.wait.Go(func() { s.clientChannels(channels) })
	s.wait.Go(func() { s.clientRequests(requests) })
	s.wait.Go(func() { s.serverChannels(s.ahead.channels) })
	s.wait.Go(func() { s.serverRequests(s.ahead.requests) })
	s.wait.Go(s.serverLeft)
	err = leg.Wait()
	protocol.Settle(s.conn.Client)
	s.cancel()
	_ = s.server.Close() // it may be gone already
	s.wait.Wait()
	s.endListening()
	return errors.Join(s.faulty(), violation(serving, protocol.ClientLeg, err))
}

// unadmitted ends a session that never began.
func (s *session) unadmitted(err error) error {
	if s.admits && s.refused == nil {
		_ = s.ahead.leg.Close()
	}
	protocol.Settle(s.conn.Client)
	s.cancel()
	_ = s.conn.Client.Close()
	if s.ahead != nil {
		<-s.ahead.done
		if s.ahead.err == nil {
			_ = s.ahead.leg.Close()
		}
	}
	var authentication *ssh.ServerAuthError
	if s.refused != nil || errors.As(err, &authentication) {
		return s.faulty()
	}
	return errors.Join(s.faulty(), violation(s.ctx, protocol.ClientLeg, err))
}

// serverLeft ends the session when the server leaves, after what it sent.
func (s *session) serverLeft() {
	_ = s.server.Wait() // its channels say what was lost
	over := false
	end := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.closed.Broadcast()
	}
	timer := time.AfterFunc(lastWords, end)
	defer timer.Stop()
	stop := context.AfterFunc(s.ctx, end)
	defer stop()
	s.mu.Lock()
	for s.open > 0 && !over {
		s.closed.Wait()
	}
	s.mu.Unlock()
	_ = s.client.Close()
}

// fail ends the session for a fault of ours.
func (s *session) fail(err error) {
	s.blame(err)
	s.cancel()
}

// blame notes why a session ends that the client ends, once it was told.
func (s *session) blame(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil && !errors.Is(err, protocol.ErrEnded) {
		s.fault = err
	}
}

func (s *session) faulty() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// take reports whether one more channel may be opened. If so, it is given
// back.
func (s *session) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.plugin.options.MaxChannels || !s.plugin.channels.take(s.netns()) {
		return false
	}
	s.open++
	return true
}

func (s *session) give() {
	s.plugin.channels.give(s.netns())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.closed.Broadcast()
}

func (s *session) netns() uint64 { return s.conn.Session.Workload.Kernel.NetnsCookie }

// accept takes a channel that a peer opened.
func (s *session) accept(opened ssh.NewChannel, in *intake) (*channel, <-chan *ssh.Request, error) {
	plain, requests, err := opened.Accept()
	if err != nil {
		return nil, nil, err
	}
	return counted(s.ctx, s.wait.Go, plain, in), requests, nil
}

// openChannel opens a channel at a peer.
func (s *session) openChannel(leg ssh.Conn, in *intake, kind string, data []byte) (*channel, <-chan *ssh.Request, error) {
	plain, requests, err := leg.OpenChannel(kind, data)
	if err != nil {
		return nil, nil, err
	}
	return counted(s.ctx, s.wait.Go, plain, in), requests, nil
}

// violation says how a leg ended: nil at a clean end.
func violation(ctx context.Context, leg protocol.Leg, err error) error {
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), strings.Contains(err.Error(), "ssh: disconnect, reason"):
		return nil
	}
	return &protocol.Violation{Leg: leg, Reason: "what it sent is not SSH as it was agreed"}
}
