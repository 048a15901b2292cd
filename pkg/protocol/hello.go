package protocol

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// Encrypted is why a session is not read whose job encrypts it.
const Encrypted = "encrypted by the job"

// LookTLS is a Look at a session that begins with TLS: which server the client
// asked for, and what it wants to speak inside (RFC 6066 and 7301). What a
// server says of itself is encrypted, since TLS 1.3.
func LookTLS(from Leg, head []byte) (fact string, more bool) {
	switch {
	case from == ServerLeg:
		return "", false
	case len(head) == 0:
		return "", true
	case head[0] != handshakeRecord:
		return "no TLS", false
	case !helloIsWhole(head):
		return "", true
	}
	hello := readHello(head)
	if hello == nil {
		return "TLS that is not understood", false
	}
	fact = "TLS"
	if hello.ServerName != "" {
		fact += " for " + hello.ServerName
	}
	if len(hello.SupportedProtos) > 0 {
		fact += ", ALPN " + strings.Join(hello.SupportedProtos, " ")
	}
	return fact, false
}

// handshakeRecord is the type of the record in which TLS begins (RFC 8446,
// section 5.1).
const handshakeRecord = 22

// helloIsWhole reports whether all of a client's first message is there, or
// none will be. It may come in several records, each with a head of five bytes;
// the message's own has four.
func helloIsWhole(b []byte) bool {
	size, got := 4, 0
	for len(b) > 5 {
		if b[0] != handshakeRecord {
			return true
		}
		n := int(b[3])<<8 | int(b[4])
		part := b[5:min(len(b), 5+n)]
		if got == 0 && len(part) >= 4 {
			size = 4 + (int(part[1])<<16 | int(part[2])<<8 | int(part[3]))
		}
		if got += len(part); got >= size || n == 0 {
			return true
		}
		b = b[5+len(part):]
	}
	return false
}

var errSeen = errors.New("all has been seen")

// readHello has crypto/tls read what a client said first; nil where it does
// not understand it.
func readHello(head []byte) (hello *tls.ClientHelloInfo) {
	config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = h
		return nil, errSeen
	}}
	_ = tls.Server(overheard{bytes.NewReader(head)}, config).HandshakeContext(context.Background()) // always fails
	return hello
}

// overheard is a connection that has said what it says, and hears nothing.
type overheard struct{ io.Reader }

// Write implements net.Conn.
func (overheard) Write(b []byte) (int, error) { return len(b), nil }

// Close implements net.Conn.
func (overheard) Close() error { return nil }

// LocalAddr implements net.Conn.
func (overheard) LocalAddr() net.Addr { return nil }

// RemoteAddr implements net.Conn.
func (overheard) RemoteAddr() net.Addr { return nil }

// SetDeadline implements net.Conn.
func (overheard) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (overheard) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (overheard) SetWriteDeadline(time.Time) error { return nil }
