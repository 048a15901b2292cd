package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
)

// relay serves what is least on the way to a server, so that what the agent
// does can be told from what being there costs: with a key and a certificate
// of a user two SSH legs of the library that the agent has, and otherwise a
// copy of the bytes. Neither decides, reads or records anything.
func relay(listen, server string, login []string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	serve := func(client net.Conn) error { return relayBytes(client, server) }
	if len(login) == 3 {
		ends, err := newLegs(server, login[0], login[1], login[2])
		if err != nil {
			return err
		}
		serve = ends.relay
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			_ = serve(client) // what failed shows in the client
			_ = client.Close()
		}()
	}
}

func relayBytes(client net.Conn, address string) error {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(server, client) }()
	_, err = io.Copy(client, server)
	return errors.Join(err, server.Close())
}

// legs is how both legs are opened, with the cipher that the agent's have.
type legs struct {
	server   string
	accepts  *ssh.ServerConfig
	connects *ssh.ClientConfig
}

func newLegs(server, user, keyFile, certificateFile string) (*legs, error) {
	_, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	hostKey, err := ssh.NewSignerFromKey(host)
	if err != nil {
		return nil, err
	}
	private, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(certificateFile)
	if err != nil {
		return nil, err
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		return nil, err
	}
	certificate, ok := parsed.(*ssh.Certificate)
	if !ok {
		return nil, errors.New(certificateFile + " is no certificate")
	}
	signer, err := ssh.NewCertSigner(certificate, key)
	if err != nil {
		return nil, err
	}
	gcm := ssh.Config{Ciphers: []string{ssh.CipherAES128GCM}}
	l := &legs{server: server, accepts: &ssh.ServerConfig{Config: gcm, NoClientAuth: true}}
	l.accepts.AddHostKey(hostKey)
	l.connects = &ssh.ClientConfig{
		Config: gcm, User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // the bench's own server
	}
	return l, nil
}

func (l *legs) relay(plain net.Conn) error {
	client, channels, requests, err := ssh.NewServerConn(plain, l.accepts)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(requests)
	server, err := ssh.Dial("tcp", l.server, l.connects)
	if err != nil {
		return err
	}
	for opened := range channels {
		to, fromServer, err := server.OpenChannel(opened.ChannelType(), opened.ExtraData())
		if err != nil {
			_ = opened.Reject(ssh.ConnectionFailed, "")
			continue
		}
		from, fromClient, err := opened.Accept()
		if err != nil {
			break
		}
		go relayRequests(to, fromClient)
		go relayStream(to, from)
		go func() { _, _ = io.Copy(from.Stderr(), to.Stderr()) }()
		go func() {
			done := make(chan struct{})
			go func() { relayStream(from, to); close(done) }()
			relayRequests(from, fromServer)
			<-done
			_ = from.Close()
		}()
	}
	return errors.Join(client.Close(), server.Close())
}

func relayRequests(to ssh.Channel, requests <-chan *ssh.Request) {
	for request := range requests {
		ok, err := to.SendRequest(request.Type, request.WantReply, request.Payload)
		if request.WantReply {
			_ = request.Reply(ok && err == nil, nil)
		}
	}
}

// piece is what the agent reads at once.
const piece = 64 << 10

func relayStream(to, from ssh.Channel) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, piece))
	_ = to.CloseWrite()
}
