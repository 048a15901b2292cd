package ssh

import (
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// forward serves a connection that the client wants the host to make (RFC
// 4254, section 7.2).
func (s *session) forward(opened ssh.NewChannel) {
	to, ok := wanted(opened)
	if !ok {
		_ = opened.Reject(ssh.ConnectionFailed, "sluice: where to connect cannot be read")
		return
	}
	resources, protected := s.protected(to)
	a, decision, err := s.conn.Ask(s.ctx, operation.Operation{
		Kind: operation.Forward, Text: operation.Text(to.path), Bytes: opened.ExtraData(), Parsed: true,
		SSH: &operation.SSH{Type: operation.SSHForward, Path: to.path, Resources: resources},
	}, func(protocol.Waiting) {})
	if _, guarded := s.protected(to); err == nil && decision.Effect == protocol.Allow && guarded && (!to.tcp || !protected) {
		decision = protocol.Decision{Reason: "it leads to a protected resource, past the agent"}
	}
	if err != nil || decision.Effect != protocol.Allow {
		s.settle(a, protocol.Refused)
		_ = opened.Reject(ssh.Prohibited, protocol.RefusalOf(decision, err))
		return
	}
	if protected {
		s.enter(a, opened, to)
		return
	}
	server, fromServer, err := s.openChannel(s.server, s.ahead.intake, opened.ChannelType(), opened.ExtraData())
	if err != nil {
		s.settle(a, protocol.Failed)
		reject(opened, err)
		return
	}
	client, fromClient, err := s.accept(opened, s.intake)
	if err != nil {
		_ = server.Close()
		server.drop()
		discard(fromServer)
		server.gone()
		s.settle(a, protocol.Abandoned)
		return
	}
	s.join(a, joint{client, fromClient}, joint{server, fromServer})
}

// joint is a channel with the requests that come for it.
type joint struct {
	channel  *channel
	requests <-chan *ssh.Request
}

// join relays between two channels until both directions have ended or one of
// the channels is closed, and ends the operation.
func (s *session) join(a *protocol.Asked, client, server joint) {
	var gone sync.WaitGroup
	answered := make(chan struct{}) // all that the server sent has passed
	gone.Go(func() {
		discard(client.requests)
		client.channel.gone()
		_ = server.channel.Close()
		server.channel.drop()
	})
	gone.Go(func() {
		discard(server.requests)
		server.channel.gone()
		<-answered
		_ = client.channel.Close()
		client.channel.drop()
	})
	for _, end := range []joint{client, server} {
		gone.Go(func() { _, _ = io.Copy(io.Discard, end.channel.Stderr()) }) // a connection has no such stream
	}
	var streams sync.WaitGroup
	streams.Go(func() { s.pour(a, protocol.Input, server.channel, client.channel) })
	streams.Go(func() {
		defer close(answered)
		s.pour(a, protocol.Response, client.channel, server.channel)
	})
	streams.Wait()
	s.settle(a, protocol.OK)
	for _, end := range []joint{client, server} {
		_ = end.channel.Close()
		end.channel.drop()
	}
	gone.Wait()
}

// pour copies one direction of a connection.
func (s *session) pour(a *protocol.Asked, stream protocol.Stream, to ssh.Channel, from io.Reader) {
	c := &hostChannel{session: s}
	if stream == protocol.Response {
		c.output(a, stream, new(sync.Mutex), to, from)
	} else {
		c.copy(a, stream, to, from, nil)
	}
	_ = to.CloseWrite()
}

// settle ends an operation that has nothing more to say.
func (s *session) settle(a *protocol.Asked, status protocol.Status) {
	s.conclude(a, protocol.Outcome{Status: status})
}

// conclude ends an operation.
func (s *session) conclude(a *protocol.Asked, outcome protocol.Outcome) {
	if err := a.End(outcome); err != nil {
		s.fail(fmt.Errorf("record an outcome: %w", err))
	}
}
