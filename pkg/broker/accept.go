package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

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
	mu     sync.Mutex
	socket int // for the first Dial; -1 when it is used; guarded by mu
}

// take takes over an accepted connection.
func (c *Client) take(said packet) {
	a, err := c.accepts(said)
	if err != nil {
		c.lost.Add(1)
		return
	}
	serve := c.serve.Load()
	if serve == nil {
		c.lost.Add(1)
		_ = a.Close() // which resets it
		return
	}
	(*serve)(a)
}

func (c *Client) accepts(said packet) (*Accepted, error) {
	var what passed
	if err := unpackAll(said.body, &what); err != nil || len(said.fds) != 2 {
		closeAll(said.fds)
		return nil, errors.Join(err, errMalformed)
	}
	file := os.NewFile(uintptr(said.fds[0]), "client leg")
	conn, err := net.FileConn(file)
	if err := errors.Join(err, file.Close()); err != nil {
		closeAll(said.fds[1:])
		return nil, fmt.Errorf("take connection: %w", err)
	}
	return &Accepted{Conn: conn.(*net.TCPConn), Origin: what.origin(c.booted), client: c, socket: said.fds[1]}, nil
}

// ErrRetired means that another process accepts connections now, for good.
var ErrRetired = errors.New("another process has taken over")

// Dial opens a server leg, as a rule to where the workload wanted to go. It may
// be called again.
func (a *Accepted) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	fd := -1
	if is4(to) == is4(a.Origin.Destination) {
		fd = a.takeSocket()
	}
	if fd < 0 {
		var err error
		if fd, err = a.client.socket(ctx, to); err != nil {
			return nil, fmt.Errorf("dial server: %w", err)
		}
	}
	return redirect.Connect(ctx, fd, to)
}

func is4(at netip.AddrPort) bool { return at.Addr().Unmap().Is4() }

// Close closes the connection, if that is still open, and the socket that no
// Dial used.
func (a *Accepted) Close() error {
	if fd := a.takeSocket(); fd >= 0 {
		_ = unix.Close(fd) // it was never connected
	}
	if err := a.Conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (a *Accepted) takeSocket() (fd int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fd, a.socket = a.socket, -1
	return fd
}

// socket asks for one more socket that may dial a destination.
func (c *Client) socket(ctx context.Context, to netip.AddrPort) (fd int, err error) {
	version := byte(6)
	if is4(to) {
		version = 4
	}
	got, err := c.ask(ctx, kindSocket, []byte{version}, 1)
	if err != nil {
		return -1, err
	}
	return got.fds[0], nil
}
