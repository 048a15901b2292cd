package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// waitingRequests is how many requests of one channel may wait behind one
	// that is being decided. More are refused.
	waitingRequests = 64
	// maxRequest is the largest request of a channel that is looked at.
	maxRequest = 64 << 10
)

// clientChannels serves what the client opens.
func (s *session) clientChannels(channels <-chan ssh.NewChannel) {
	for opened := range channels {
		if !s.take() {
			_ = opened.Reject(ssh.ResourceShortage, "sluice: too many channels are open")
			continue
		}
		s.wait.Go(func() {
			defer s.give()
			s.serveChannel(opened)
		})
	}
}

func (s *session) serveChannel(opened ssh.NewChannel) {
	switch opened.ChannelType() {
	case "session":
		s.hostChannel(opened)
	case "direct-tcpip", "direct-streamlocal@openssh.com":
		s.forward(opened)
	default:
		_ = opened.Reject(ssh.UnknownChannelType, "sluice: this type of channel is not passed on")
	}
}

// hostChannel is a session channel (RFC 4254, section 6) on both legs.
type hostChannel struct {
	session        *session
	ctx            context.Context // ends when the client closes the channel
	client, server *channel
	before         preparation

	starting sync.Mutex
	started  bool            // a program runs, or was refused, or none can any more; guarded by starting
	op       *protocol.Asked // what runs; set under starting
	copied   *copied
	parts    sync.WaitGroup

	outMu   sync.Mutex // of what is written to client
	errMu   sync.Mutex // of what is written to its stderr
	notesMu sync.Mutex
	notes   []string // still to be said; guarded by notesMu
	exitMu  sync.Mutex
	exit    protocol.Outcome // guarded by exitMu
	told    chan struct{}    // closed when the client knows how the program ended, or will never
}

// preparation is what a client asked for before it starts a program.
type preparation struct {
	environment []operation.Param // NAME=value
	unsafe      bool              // one of them may change what a command line means
	terminal    string            // its size; "" for no terminal
}

// hostChannel serves one channel to its end.
func (s *session) hostChannel(opened ssh.NewChannel) {
	if s.noMore.Load() {
		_ = opened.Reject(ssh.Prohibited, "sluice: the client wanted no more sessions")
		return
	}
	server, fromServer, err := s.openChannel(s.server, s.ahead.intake, "session", opened.ExtraData())
	if err != nil {
		reject(opened, err)
		return
	}
	client, fromClient, err := s.accept(opened, s.intake)
	if err != nil {
		_ = server.Close()
		server.drop()
		discard(fromServer)
		server.gone()
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	c := &hostChannel{session: s, ctx: ctx, client: client, server: server, told: make(chan struct{})}
	s.wait.Go(func() { _, _ = io.Copy(io.Discard, client.Stderr()) }) // a client has nothing to say there
	queue := make(chan *ssh.Request, waitingRequests)
	s.wait.Go(func() {
		enqueue(fromClient, queue)
		client.gone()
		cancel()
		_ = server.Close()
		server.drop() // nobody is there any more who would read it
	})
	var handling sync.WaitGroup
	handling.Go(func() { c.clientRequests(queue) })
	c.serverRequests(fromServer)
	server.gone()
	cancel() // nothing can be decided any more
	_ = server.Close()
	c.starting.Lock()
	c.started = true
	c.starting.Unlock()
	c.parts.Wait()
	c.finish()
	_ = client.Close()
	client.drop()
	server.drop()
	handling.Wait()
}

// enqueue passes requests on without ever waiting for who takes them, so that
// the end of the channel is seen.
func enqueue(requests <-chan *ssh.Request, queue chan<- *ssh.Request) {
	defer close(queue)
	for request := range requests {
		if len(request.Payload) > maxRequest {
			answer(request, false)
			continue
		}
		select {
		case queue <- request:
		default:
			answer(request, false)
		}
	}
}

func answer(request *ssh.Request, ok bool) {
	if request.WantReply {
		_ = request.Reply(ok, nil) // a peer that is gone is noticed elsewhere
	}
}

// reject tells the client in the server's words why a channel was not opened.
func reject(opened ssh.NewChannel, err error) {
	var failure *ssh.OpenChannelError
	if errors.As(err, &failure) {
		_ = opened.Reject(failure.Reason, protocol.Printable(failure.Message))
		return
	}
	_ = opened.Reject(ssh.ConnectionFailed, "sluice: the server is gone")
}

// discard refuses all requests until there are no more.
func discard(requests <-chan *ssh.Request) {
	for request := range requests {
		answer(request, false)
	}
}

// serverRequests passes on what the server says about the program.
func (c *hostChannel) serverRequests(requests <-chan *ssh.Request) {
	tell := sync.OnceFunc(func() { close(c.told) })
	defer tell()
	for request := range requests {
		switch request.Type {
		case "exit-status", "exit-signal":
			c.noteExit(request)
		case "eow@openssh.com", "xon-xoff", "keepalive@openssh.com":
		default:
			answer(request, false)
			continue
		}
		ok, err := c.client.SendRequest(request.Type, request.WantReply, request.Payload)
		answer(request, ok && err == nil)
		if strings.HasPrefix(request.Type, "exit-") {
			tell()
		}
	}
}

func (c *hostChannel) noteExit(request *ssh.Request) {
	outcome := protocol.Outcome{Status: protocol.Failed}
	var status struct{ Code uint32 }
	var signal struct {
		Name     string
		Core     bool
		Message  string
		Language string
	}
	switch {
	case request.Type == "exit-status" && ssh.Unmarshal(request.Payload, &status) == nil:
		outcome.Code = fmt.Sprintf("exit %d", status.Code)
		if status.Code == 0 {
			outcome = protocol.Outcome{Status: protocol.OK}
		}
	case request.Type == "exit-signal" && ssh.Unmarshal(request.Payload, &signal) == nil:
		outcome.Code = "signal " + protocol.Printable(signal.Name[:min(len(signal.Name), 16)])
	}
	c.exitMu.Lock()
	defer c.exitMu.Unlock()
	c.exit = outcome
}

// finish ends the operation of the program, after its streams.
func (c *hostChannel) finish() {
	c.exitMu.Lock()
	outcome := c.exit
	c.exitMu.Unlock()
	if outcome.Status == "" {
		outcome.Status = protocol.Abandoned
	}
	outcome.Tag = c.copied.summary()
	if err := c.op.End(outcome); err != nil {
		c.session.fail(err)
	}
}
