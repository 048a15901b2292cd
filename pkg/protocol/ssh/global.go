package ssh

import (
	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// maxListening is how many ports one session may have the host listen on.
const maxListening = 32

// clientRequests serves the client's global requests in their order.
func (s *session) clientRequests(requests <-chan *ssh.Request) {
	for request := range requests {
		switch request.Type {
		case "no-more-sessions@openssh.com":
			s.noMore.Store(true) // not passed on: the agent may need one more
			answer(request, true)
		case "keepalive@openssh.com":
			passGlobal(s.server, request)
		case "tcpip-forward":
			s.listen(request)
		case "cancel-tcpip-forward":
			s.unlisten(request)
		default:
			answer(request, false)
		}
	}
}

// serverRequests serves the server's. Its other host keys
// (hostkeys-00@openssh.com) are not for the client, which would believe them.
func (s *session) serverRequests(requests <-chan *ssh.Request) {
	for request := range requests {
		if request.Type == "keepalive@openssh.com" {
			passGlobal(s.client, request)
			continue
		}
		answer(request, false)
	}
}

func passGlobal(to ssh.Conn, request *ssh.Request) {
	ok, payload, err := to.SendRequest(request.Type, request.WantReply, request.Payload)
	if request.WantReply {
		_ = request.Reply(ok && err == nil, payload)
	}
}

// listener is what tcpip-forward and its answers name (RFC 4254, section 7.1).
type listener struct {
	Host string
	Port uint32
}

// endpoint is where the host would listen. Nothing and an asterisk are all of
// its addresses.
func (l listener) endpoint() endpoint {
	if l.Host == "" || l.Host == "*" {
		l.Host = "0.0.0.0"
	}
	return endpoint{tcp: true, host: l.Host, port: uint16(l.Port)} //nolint:gosec // it was checked
}

// listen asks about a port that the host is to listen on.
func (s *session) listen(request *ssh.Request) {
	var at listener
	if ssh.Unmarshal(request.Payload, &at) != nil || at.Port > 65535 || !s.mayListen() {
		answer(request, false)
		return
	}
	path := hostPort(at.Host, at.Port)
	resources, protected := s.protected(at.endpoint())
	a, decision, err := s.conn.Ask(s.ctx, operation.Operation{
		Kind: operation.Forward, Text: operation.Text(path), Bytes: request.Payload, Parsed: true,
		SSH: &operation.SSH{Type: operation.SSHListen, Path: path, Resources: resources},
	}, func(protocol.Waiting) {})
	if err != nil || decision.Effect != protocol.Allow || protected { // a job does not stand in for a resource
		s.settle(a, protocol.Refused)
		answer(request, false)
		return
	}
	ok, payload, err := s.server.SendRequest(request.Type, true, request.Payload)
	if err != nil || !ok {
		s.settle(a, protocol.Failed)
		answer(request, false)
		return
	}
	var chosen struct{ Port uint32 }
	if at.Port == 0 && ssh.Unmarshal(payload, &chosen) == nil {
		at.Port = chosen.Port
	}
	if _, protected := s.protected(at.endpoint()); protected {
		_, _, _ = s.server.SendRequest("cancel-tcpip-forward", true, ssh.Marshal(at)) // nothing that comes there is let in
		s.settle(a, protocol.Refused)
		answer(request, false)
		return
	}
	s.mu.Lock()
	old := s.listening[hostPort(at.Host, at.Port)]
	s.listening[hostPort(at.Host, at.Port)] = a
	s.mu.Unlock()
	s.settle(old, protocol.OK)
	if request.WantReply {
		_ = request.Reply(true, payload)
	}
}

func (s *session) mayListen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listening) < maxListening
}

func (s *session) unlisten(request *ssh.Request) {
	var at listener
	if ssh.Unmarshal(request.Payload, &at) != nil {
		answer(request, false)
		return
	}
	passGlobal(s.server, request)
	s.mu.Lock()
	a := s.listening[hostPort(at.Host, at.Port)]
	delete(s.listening, hostPort(at.Host, at.Port))
	s.mu.Unlock()
	s.settle(a, protocol.OK)
}

// endListening ends what still listened when the session ended.
func (s *session) endListening() {
	s.mu.Lock()
	left := s.listening
	s.listening = nil
	s.mu.Unlock()
	for _, a := range left {
		s.settle(a, protocol.OK)
	}
}

// serverChannels serves the connections that came to such ports, and nothing
// else that a server may want to open.
func (s *session) serverChannels(channels <-chan ssh.NewChannel) {
	for opened := range channels {
		parent := s.listener(opened)
		if parent == nil || !s.take() {
			_ = opened.Reject(ssh.Prohibited, "sluice: nobody asked for it")
			continue
		}
		s.wait.Go(func() {
			defer s.give()
			s.arrived(opened, parent)
		})
	}
}

// listener returns the operation that a channel of the server belongs to.
func (s *session) listener(opened ssh.NewChannel) *protocol.Asked {
	var connection struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if opened.ChannelType() != "forwarded-tcpip" || ssh.Unmarshal(opened.ExtraData(), &connection) != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listening[hostPort(connection.Host, connection.Port)]
}

// arrived serves one connection to a port, as an operation of its own.
func (s *session) arrived(opened ssh.NewChannel, parent *protocol.Asked) {
	path := parent.Op.SSH.Path
	a, decision, err := s.conn.Ask(s.ctx, operation.Operation{
		Kind: operation.Forward, Parent: parent.Op.ID, Text: operation.Text(path), Bytes: opened.ExtraData(), Parsed: true,
		SSH: &operation.SSH{Type: operation.SSHListen, Path: path},
	}, func(protocol.Waiting) {})
	if err != nil || decision.Effect != protocol.Allow {
		s.settle(a, protocol.Refused)
		_ = opened.Reject(ssh.Prohibited, "sluice: refused")
		return
	}
	client, fromClient, err := s.openChannel(s.client, s.intake, opened.ChannelType(), opened.ExtraData())
	if err != nil {
		s.settle(a, protocol.Failed)
		reject(opened, err)
		return
	}
	server, fromServer, err := s.accept(opened, s.ahead.intake)
	if err != nil {
		_ = client.Close()
		client.drop()
		discard(fromClient)
		client.gone()
		s.settle(a, protocol.Abandoned)
		return
	}
	s.join(a, joint{client, fromClient}, joint{server, fromServer})
}
