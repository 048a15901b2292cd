package ssh

import (
	"io"
	"sync"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// pieceBytes is how much is read, recorded and forwarded at once: two of the
// packets that a channel takes.
const pieceBytes = 64 << 10

// relay starts the streams of a program that runs.
func (c *hostChannel) relay(a *protocol.Asked) {
	if size := c.before.terminal; size != "" {
		if err := a.Record(protocol.Size, []byte(size)); err != nil {
			c.session.fail(err)
			return
		}
	}
	if c.relayFiles(a) || c.relayGit(a) {
		return
	}
	c.copied = copiedBy(&a.Op)
	c.session.wait.Go(func() {
		c.copy(a, protocol.Input, c.server, c.client, nil)
		_ = c.server.CloseWrite()
	})
	var out sync.WaitGroup
	out.Go(func() { c.output(a, protocol.Response, &c.outMu, c.client, c.server) })
	out.Go(func() { c.output(a, protocol.Errors, &c.errMu, c.client.Stderr(), c.server.Stderr()) })
	c.parts.Go(func() {
		out.Wait()
		c.endProgram()
	})
}

// copy records and forwards until from ends, or to takes no more.
func (c *hostChannel) copy(a *protocol.Asked, stream protocol.Stream, to io.Writer, from io.Reader, lock sync.Locker) {
	piece := make([]byte, pieceBytes)
	for {
		n, err := from.Read(piece)
		if n > 0 && !c.forward(a, stream, to, piece[:n], lock) || err != nil {
			return
		}
	}
}

// forward records a chunk and writes it. It reports whether the stream goes
// on.
func (c *hostChannel) forward(a *protocol.Asked, stream protocol.Stream, to io.Writer, chunk []byte, lock sync.Locker) bool {
	if err := a.Record(stream, chunk); err != nil {
		c.session.fail(err)
		return false
	}
	c.copied.pass(stream, chunk)
	if lock != nil {
		lock.Lock()
		defer lock.Unlock()
	}
	_, err := to.Write(chunk)
	return err == nil
}

// output is copy to the client, masked.
func (c *hostChannel) output(a *protocol.Asked, stream protocol.Stream, lock sync.Locker, to io.Writer, from io.Reader) {
	if c.session.conn.Masks.Empty() {
		c.copy(a, stream, to, from, lock)
		return
	}
	m := c.session.conn.NewMasking(a, func(chunk []byte) bool { return c.forward(a, stream, to, chunk, lock) })
	defer m.Close()
	piece := make([]byte, pieceBytes)
	for {
		n, err := from.Read(piece)
		if n > 0 && !m.Write(piece[:n]) || err != nil {
			return
		}
	}
}
