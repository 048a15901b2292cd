package httpproxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

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

// aheadBytes is how much a client may send behind a request that is not
// answered yet.
const aheadBytes = 64 << 10

var errAhead = errors.New("too much was sent ahead")

// plainLeg is a client's connection above TLS, or without it, for HTTP/1.1. While a request is
// served net/http reads one byte, to notice when the client leaves. With a
// pipelined request there it would notice no more; so that byte is not given
// out, and reading goes on until the client leaves or net/http takes over again.
type plainLeg struct {
	net.Conn
	upgraded atomic.Bool // somebody else than net/http reads
	ahead    []byte      // what was read meanwhile; one goroutine reads at a time
}

// Read implements net.Conn.
func (l *plainLeg) Read(p []byte) (int, error) {
	if len(l.ahead) > 0 && (len(p) != 1 || l.upgraded.Load()) {
		n := copy(p, l.ahead)
		l.ahead = l.ahead[n:]
		return n, nil
	}
	if len(p) != 1 || l.upgraded.Load() {
		return l.Conn.Read(p)
	}
	piece := make([]byte, 4<<10)
	for {
		n, err := l.Conn.Read(piece)
		l.ahead = append(l.ahead, piece[:n]...)
		switch {
		case err != nil:
			return 0, err
		case len(l.ahead) > aheadBytes:
			return 0, errAhead
		}
	}
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
