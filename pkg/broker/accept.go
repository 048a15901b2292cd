package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// Accepted is a connection that a workload opened to a protected destination,
// with the means to open the server leg. It belongs to whoever serves it. Its
// close resets it, unless SetLinger(-1) said before that it ended
// as it should.
type Accepted struct {
	Conn   *net.TCPConn
	Origin redirect.Origin

	client *Client
}

// ErrRetired means that another process accepts connections now, for good.
var ErrRetired = errors.New("another process has taken over")

// Dial opens a server leg, as a rule to where the workload wanted to go. It may
// be called again.
func (a *Accepted) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	fd, err := a.client.socket(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("dial server: %w", err)
	}
	return redirect.Connect(ctx, fd, to)
}

// Close closes the connection, if that is still open.
func (a *Accepted) Close() error {
	if err := a.Conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// hearAccepted takes a connection over that the privileged half has accepted.
func (c *Client) hearAccepted(said packet) error {
	origin, err := passedWhole(said.body, c.booted)
	if err != nil || len(said.fds) != 1 {
		closeAll(said.fds)
		return errMalformed
	}
	file := os.NewFile(uintptr(said.fds[0]), "client leg")
	conn, err := net.FileConn(file)
	if err := errors.Join(err, file.Close()); err != nil {
		c.lost.Add(1) // the peer's reset was faster
		return nil
	}
	c.give(&Accepted{Conn: conn.(*net.TCPConn), Origin: origin, client: c})
	return nil
}

// check serves a connection that this process has accepted, if it has a record
// that agrees with its listener, and resets any other: its listener has set it
// to.
func (c *Client) check(conn *net.TCPConn, cookie uint64) {
	origin, err := c.records.Of(conn, cookie)
	if err != nil {
		_ = conn.Close()
		c.raise(redirect.Unserved(err, origin, cookie))
		return
	}
	if redirect.IsProbe(origin.Destination, conn.LocalAddr().(*net.TCPAddr).AddrPort().Port()) {
		_ = conn.Close()
		_ = c.link.send(kindProbed, 0, pack(nil, pass(origin, c.booted))) // the self-test says when it cannot arrive
		return
	}
	c.give(&Accepted{Conn: conn, Origin: origin, client: c})
}

// give lets a connection be served.
func (c *Client) give(a *Accepted) {
	serve := c.serve.Load()
	if serve == nil {
		c.lost.Add(1)
		_ = a.Close() // which resets it
		return
	}
	(*serve)(a)
}
