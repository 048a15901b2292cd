package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// copyBytes serves what is least on the way to PostgreSQL in Go: the agent's own
// loop and pump, with TLS to the server, and a conversation that copies bytes.
// It reads, decides and records nothing; the client's login goes through it.
func copyBytes(listen, server, caFile string) error {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New(caFile + " holds no certificate")
	}
	loop, err := protocol.NewLoop()
	if err != nil {
		return err
	}
	defer loop.Close()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + loop.Goroutines())
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		conn := &protocol.Conn{
			Client: client,
			Dial: func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", server)
			},
			TLS:  protocol.ServerTLS{Config: &tls.Config{RootCAs: roots, ServerName: "pg.lab"}},
			Log:  zap.NewNop(),
			Loop: loop,
		}
		go func() { _ = protocol.NewPump(conn, &copier{}, 64<<10).Run(context.Background()) }() // what failed shows in the client
	}
}

// copier is a protocol.Conversation that has the server's leg encrypted and
// copies bytes from then on.
type copier struct{ dialled, secured, offered bool }

// sslRequest is the length and the code of an SSLRequest (PostgreSQL's
// documentation, section 55.7).
var sslRequest = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), 80877103)

func (c *copier) Feed(from protocol.Leg, unread []byte, to []protocol.Action) (int, []protocol.Action) {
	switch {
	case len(unread) == 0:
		return 0, to
	case c.secured && from == protocol.ServerLeg && !c.offered:
		c.offered = true
		return len(unread), append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: withoutBinding(unread)})
	case c.secured:
		return len(unread), append(to, protocol.Action{Kind: protocol.Write, Leg: 1 - from, Bytes: unread})
	case from == protocol.ServerLeg && unread[0] == 'S':
		return 1, append(to, protocol.Action{Kind: protocol.StartTLS, Leg: from})
	case from == protocol.ServerLeg:
		return 0, append(to, protocol.Action{Kind: protocol.End})
	case c.dialled:
		return 0, append(to, protocol.Action{Kind: protocol.Pause, Leg: from})
	}
	c.dialled = true
	return 0, append(to, protocol.Action{Kind: protocol.Dial})
}

// withoutBinding takes out of a server's offer (AuthenticationSASL) what binds the
// login to its TLS, which this client has none of.
func withoutBinding(offer []byte) []byte {
	const binding = "SCRAM-SHA-256-PLUS\x00"
	left := bytes.Replace(offer, []byte(binding), nil, 1)
	binary.BigEndian.PutUint32(left[1:], uint32(len(left)-1))
	return left
}

func (c *copier) Changed(leg protocol.Leg, change protocol.Change, to []protocol.Action) []protocol.Action {
	switch change {
	case protocol.Opened:
		return append(to, protocol.Action{Kind: protocol.Write, Leg: leg, Bytes: sslRequest})
	case protocol.Secured:
		c.secured = true
		return append(to, protocol.Action{Kind: protocol.Resume, Leg: protocol.ClientLeg})
	}
	return append(to, protocol.Action{Kind: protocol.End})
}

func (c *copier) Decided(_ protocol.Decision, _ error, to []protocol.Action) []protocol.Action {
	return to // nothing is asked
}

func (c *copier) Waiting(_ protocol.Waiting, to []protocol.Action) []protocol.Action { return to }
