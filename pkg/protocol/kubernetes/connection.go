package kubernetes

import (
	"context"
	"fmt"
	"sync"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// maxFailure is the longest text of how a connection failed.
const maxFailure = 4 << 10

// connection is one connection of a port-forward.
type connection struct {
	f      *portForward
	port   uint16
	ctx    context.Context
	cancel context.CancelFunc
	input  *input
	op     *protocol.Asked
	mask   *protocol.Masking // nil: nothing is hidden

	fails, data     uint32        // the client's streams; data is 0 until it is there
	failsUp, dataUp uint32        // the server's; 0 until it was asked
	over            chan struct{} // closed when the server has ended both

	mu      sync.Mutex
	ends    int    // streams that the server has ended; guarded by mu
	failure []byte // what came of it; guarded by mu
	failed  bool   // guarded by mu
	told    bool   // the client's stream for failures has ended; guarded by mu
}

func newConnection(f *portForward, port uint16) *connection {
	c := &connection{f: f, port: port, over: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(f.u.ctx)
	c.input = newInput(c.ctx, maxForwarded)
	return c
}

// serve asks about a connection, and is there until it ends.
func (c *connection) serve() {
	defer c.f.forget(c)
	defer c.cancel()
	select {
	case <-c.f.begun:
	case <-c.ctx.Done():
		return
	}
	u := c.f.u
	op, decision, err := u.through.Conn().Ask(c.ctx, c.operation(), func(protocol.Waiting) {})
	c.op = op
	if err != nil || decision.Effect != protocol.Allow {
		c.refuse(protocol.RefusalOf(decision, err))
		c.end(protocol.Outcome{Status: protocol.Refused})
		return
	}
	if conn := u.through.Conn(); !conn.Masks.Empty() {
		c.mask = conn.NewMasking(op, func(chunk []byte) bool { return c.output(chunk) == nil })
		defer c.mask.Close()
	}
	if c.f.reach(c) != nil {
		c.end(protocol.Outcome{Status: protocol.Failed})
		return
	}
	var feeding sync.WaitGroup
	feeding.Go(c.feed)
	select {
	case <-c.over:
	case <-c.ctx.Done():
	}
	c.flush()
	c.endFailures()
	c.cancel()
	feeding.Wait()
	_ = u.server.write(func(dst []byte) []byte { return u.server.framing.reset(dst, c.dataUp) })
	c.end(c.outcome())
}

// operation is what is asked about.
func (c *connection) operation() operation.Operation {
	parent := &c.f.u.op.Op
	op := operation.Operation{
		Kind: operation.Forward, Parent: parent.ID, Parsed: true, HTTP: parent.HTTP,
		Text:  fmt.Appendf(nil, "%s:%d", parent.Kube.Name, c.port),
		Bytes: fmt.Appendf(nil, "%s\nport: %d", parent.Bytes, c.port),
	}
	kube := *parent.Kube
	kube.Port = c.port
	op.Kube = &kube
	return op
}

// feed records and forwards what the client sends.
func (c *connection) feed() {
	server, piece := c.f.u.server, make([]byte, 0, pieceBytes)
	for {
		bytes, _, ended, more := c.input.next(piece[:0])
		if !more {
			return
		}
		if len(bytes) > 0 && (c.f.u.record(c.op, protocol.Input, bytes) != nil || server.chunk(c.dataUp, bytes) != nil) {
			return
		}
		if ended && server.end(c.dataUp) != nil {
			return
		}
	}
}

func (c *connection) fromServer(h happening) error {
	switch {
	case h.kind == reset:
		c.cancel()
	case h.kind == ended:
		return c.ended(h.stream)
	case h.kind != came:
	case h.stream == c.failsUp:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed = true
		c.failure = append(c.failure, h.data[:min(len(h.data), maxFailure-len(c.failure))]...)
	case c.mask == nil:
		return unlessLeft(c.output(h.data))
	case !c.mask.Write(h.data):
		c.cancel()
	}
	return nil
}

// unlessLeft is nil for an error that the connection has met already.
func unlessLeft(err error) error {
	if err == errOver { //nolint:errorlint // it is ours, and never wrapped
		return err
	}
	return nil
}

// ended takes the end of one of the server's streams.
func (c *connection) ended(stream uint32) error {
	client, mine := c.f.u.client, c.data
	if stream == c.failsUp {
		mine = c.fails
		c.sayFailure()
		c.mu.Lock()
		told := c.told
		c.told = true
		c.mu.Unlock()
		if told {
			return nil
		}
	} else {
		c.flush()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends++; c.ends == 2 {
		close(c.over)
	}
	if client.end(mine) != nil {
		return errLeft
	}
	return nil
}

// sayFailure records how the connection failed, and tells the client.
func (c *connection) sayFailure() {
	c.mu.Lock()
	text := c.failure
	c.failure = nil
	c.mu.Unlock()
	if len(text) == 0 {
		return
	}
	clean, hidden := c.f.u.clean(text)
	c.op.Hid(hidden)
	if c.f.u.record(c.op, protocol.Errors, clean) == nil {
		_ = c.f.u.client.chunk(c.fails, clean)
	}
}

// output records what the pod sent and gives it to the client.
func (c *connection) output(chunk []byte) error {
	if err := c.f.u.record(c.op, protocol.Response, chunk); err != nil {
		return err
	}
	return c.f.u.client.chunk(c.data, chunk)
}

// endFailures ends the client's stream for failures where the server did not
// yet: kubectl resets the other one once that has ended, and then waits for this
// one.
func (c *connection) endFailures() {
	c.mu.Lock()
	told := c.told
	c.told = true
	c.mu.Unlock()
	if !told {
		_ = c.f.u.client.end(c.fails) // a client that is gone is noticed elsewhere
	}
}

// flush lets go of what is kept back.
func (c *connection) flush() {
	if c.mask != nil {
		c.mask.Close()
	}
	c.sayFailure()
}

// refuse says no on the stream for failures.
func (c *connection) refuse(why string) {
	client := c.f.u.client
	if client.chunk(c.fails, []byte(why)) != nil || client.end(c.fails) != nil {
		return
	}
	_ = client.end(c.data)
}

func (c *connection) outcome() protocol.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.failed:
		return protocol.Outcome{Status: protocol.Failed}
	case c.ends == 2 || c.f.u.ctx.Err() == nil:
		return protocol.Outcome{Status: protocol.OK}
	}
	return protocol.Outcome{Status: protocol.Abandoned}
}

func (c *connection) end(outcome protocol.Outcome) {
	if err := c.op.End(outcome); err != nil {
		c.f.u.through.Fail(err)
	}
}
