package gitwire

import (
	"errors"
	"io"
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Advertise passes what a server of HTTP answers to a client that asks what it
// has (info/refs in gitprotocol-http(5)): references, or in v2 capabilities.
// What is offered for a push is passed as far as it is understood. A
// *protocol.Violation says that the server broke the protocol.
func Advertise(offered Service, from io.Reader, line func(chunk []byte) error) error {
	server := newSource(from)
	if err := announced(server, offered, line); err != nil {
		return err
	}
	if offered == ReceivePack {
		_, err := relayAdvertisement(server, line)
		return err
	}
	s := service{server: server, Run: Run{Answer: writerFunc(line)}}
	_, _, err := s.advertised()
	return err
}

// writerFunc is a function that is given all that is written.
type writerFunc func([]byte) error

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) { return len(p), f(p) }

// Announced takes the line off an advertisement that names the service, which
// not every server sends, and returns the rest: what the service itself says.
func Announced(offered Service, from io.Reader) (io.Reader, error) {
	server := newSource(from)
	return server, announced(server, offered, func([]byte) error { return nil })
}

// announced takes and passes the line that names the service, and the flush
// packet behind it.
func announced(server *source, offered Service, line func([]byte) error) error {
	first, err := server.peek()
	if err != nil {
		return serverFault(orEnded(err))
	}
	name, found := strings.CutPrefix(first.line(), "# service=")
	if !found {
		return nil
	}
	if name != string(offered) {
		return violation(protocol.ServerLeg, "another service is advertised")
	}
	for range 2 {
		p, err := server.packet()
		if err != nil {
			return serverFault(orEnded(err))
		}
		if err := line(p.raw); err != nil || p.kind == flushPacket {
			return err
		}
	}
	return violation(protocol.ServerLeg, "no flush packet follows the service's name")
}

// orEnded says what the end of a stream means where something had to come.
func orEnded(err error) error {
	if errors.Is(err, io.EOF) {
		return errServerGone
	}
	return err
}
