package httpproxy

import (
	"net"
	"sync"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// clientLeg is a client's connection below TLS. It ends as an ordinary one.
type clientLeg struct{ net.Conn }

// Close closes the leg by its own word.
func (l clientLeg) Close() error {
	protocol.Settle(l.Conn)
	return l.Conn.Close()
}

// peeked is a leg of which the first byte is still to be given out.
type peeked struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (l *peeked) Read(p []byte) (int, error) {
	if len(l.first) == 0 || len(p) == 0 {
		return l.Conn.Read(p)
	}
	n := copy(p, l.first)
	l.first = l.first[n:]
	return n, nil
}

// single is a listener that one connection came to already.
type single struct {
	once  sync.Once
	conn  net.Conn // of the first Accept; guarded by once
	over  chan struct{}
	close sync.Once // of over
}

// Accept implements net.Listener.
func (s *single) Accept() (conn net.Conn, err error) {
	s.once.Do(func() { conn = s.conn })
	if conn != nil {
		return conn, nil
	}
	<-s.over
	return nil, net.ErrClosed
}

// Close implements net.Listener. A server that is closed waits for Accept.
func (s *single) Close() error {
	s.close.Do(func() { close(s.over) })
	return nil
}

// Addr implements net.Listener.
func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }
