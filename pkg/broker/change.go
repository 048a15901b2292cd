package broker

import (
	"bytes"
	"context"
	"net"
	"os"
)

// Inheritance is how a proxy begins: with nothing, or with what another has
// begun and does not end.
type Inheritance struct {
	Baton  []byte   // as that one gave it to Left; nil: there is none
	Stream net.Conn // where its records come
}

// Change is what an upgrade asks of the proxy that was there before.
type Change struct {
	Kind   ChangeKind
	Stream net.Conn // of Retire: where records go from now on
}

// ChangeKind says what is to be done.
type ChangeKind int

// The kinds of changes. Leave comes first and asks for Left; then one of the
// others.
const (
	Leave  ChangeKind = iota // hand the records over, and let them wait
	Retire                   // write them to the stream; end with the last session
	Return                   // nobody has taken over: go on
)

// Begin says that the proxy can begin, and waits until it may open its records.
func (c *Client) Begin(ctx context.Context) (Inheritance, error) {
	if err := c.link.send(kindAble, 0, nil); err != nil {
		return Inheritance{}, err
	}
	select {
	case i := <-c.begun:
		return i, nil
	case <-c.gone:
		return Inheritance{}, net.ErrClosed
	case <-ctx.Done():
		return Inheritance{}, context.Cause(ctx)
	}
}

// Changes returns the channel of what upgrades ask for. It is never closed.
func (c *Client) Changes() <-chan Change { return c.changes }

// Left says that the records are handed over, and gives what carries them on.
func (c *Client) Left(baton []byte) error { return c.link.send(kindLeft, 0, baton) }

// hearChange takes what only upgrades say. What a privileged half says at the
// wrong time is a fault that ends the proxy.
func (c *Client) hearChange(said packet) error {
	stream, err := streamOf(said.fds)
	if err != nil {
		return err
	}
	switch said.kind {
	case kindBegin:
		i := Inheritance{Stream: stream}
		if len(said.body) > 0 {
			i.Baton = bytes.Clone(said.body)
		}
		return hand(c.begun, i, stream)
	case kindLeave:
		c.listeners.rest()
		return hand(c.changes, Change{Kind: Leave}, stream)
	case kindRetire:
		c.listeners.close()
		err := hand(c.changes, Change{Kind: Retire, Stream: stream}, stream)
		close(c.retired) // it comes once
		return err
	case kindReturn:
		c.listeners.resume()
		return hand(c.changes, Change{Kind: Return}, stream)
	}
	if stream != nil {
		return stream.Close()
	}
	return errMalformed
}

// hand gives something to whoever waits for it, or closes the stream that came
// with it.
func hand[T any](to chan T, what T, stream net.Conn) error {
	select {
	case to <- what:
		return nil
	default:
	}
	if stream != nil {
		_ = stream.Close() // nobody else knows of it
	}
	return errMalformed
}

// streamOf makes the one descriptor that may come with a packet a stream; nil:
// there is none.
func streamOf(fds []int) (net.Conn, error) {
	if len(fds) == 0 {
		return nil, nil
	}
	closeAll(fds[1:])
	file := os.NewFile(uintptr(fds[0]), "stream")
	defer file.Close() //nolint:errcheck // the connection has its own descriptor
	return net.FileConn(file)
}
