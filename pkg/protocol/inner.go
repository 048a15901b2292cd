package protocol

import (
	"context"
	"net"
)

// Inner is a connection that a client makes through the server of its session
// to a protected resource. The agent serves it as a session of its own, with a
// protocol that this one does not know.
type Inner struct {
	Operation uint64 // that the guard allowed: the connection itself
	Host      string // as Conn.Protected was asked
	Port      uint16
	Resources []string // as it answered: when it has another answer by now, nobody is served
	// Accept returns the client's leg. It is called at most once, when nothing is
	// in the way any more.
	Accept func() (net.Conn, error)
	// Dial opens a server leg through the session's server, as Conn.Dial does. It may be
	// called again.
	Dial func(ctx context.Context) (net.Conn, error)
}

// Unserved says in words for the client why an Inner was not accepted.
type Unserved string

func (u Unserved) Error() string { return string(u) }
