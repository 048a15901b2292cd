package kubernetes

import (
	"errors"
	"strconv"
	"sync"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// maxConnections is how many connections one port-forward may have open. Each
	// has a place of the workload's requests, too.
	maxConnections = 64
	// maxForwarded is how much of one may have come that is not forwarded yet.
	maxForwarded = 64 << 10
)

// The fields of a stream of port-forward, and what it is for.
const (
	portField    = "port"
	requestField = "requestid"
	dataStream   = "data"
	errorStream  = "error"
)

// portForward is a port-forward: connections to ports of a pod, of two streams
// each. Every connection is an operation of its own below this one, because only
// its streams name the port.
type portForward struct {
	u     *upgraded
	begun chan struct{}

	mu       sync.Mutex
	opening  map[string]*connection // that have one stream, by request; guarded by mu
	byClient map[uint32]*connection // by the client's streams; guarded by mu
	byServer map[uint32]*connection // by the server's; guarded by mu
	open     int                    // guarded by mu
	over     bool                   // no connection begins any more; guarded by mu
	last     uint32                 // stream that the server was asked for; guarded by mu
}

func newPortForward(u *upgraded) *portForward {
	return &portForward{
		u: u, begun: make(chan struct{}), opening: map[string]*connection{},
		byClient: map[uint32]*connection{}, byServer: map[uint32]*connection{},
	}
}

func (f *portForward) begin() error {
	close(f.begun)
	return nil
}

// speaks is false: nothing can be said before there is a connection, and then
// only that it failed. So the client waits for its answer in HTTP.
func (f *portForward) speaks() bool { return false }

func (f *portForward) tell(string) {}

func (f *portForward) refuse(int, string) error { return errLeft }

func (f *portForward) fromClient(h happening) error {
	if h.kind == left {
		return errLeft
	}
	if h.kind == opened {
		return f.opened(h)
	}
	f.mu.Lock()
	c := f.byClient[h.stream]
	f.mu.Unlock()
	switch {
	case c == nil: // it is over, or was never taken
	case h.stream == c.fails && h.kind == came:
		return violation(protocol.ClientLeg, broken("data on a stream that only the server writes"))
	case h.stream == c.fails && h.kind == ended: // clients say so at once
	case h.kind == came:
		c.input.put(h.data)
	case h.kind == ended:
		c.input.end()
	case h.kind == reset:
		c.cancel()
	}
	return nil
}

// opened takes a stream of a connection, the one for failures first.
func (f *portForward) opened(h happening) error {
	port, err := strconv.ParseUint(h.fields[portField], 10, 16)
	request := h.fields[requestField]
	if err != nil || port == 0 || request == "" {
		return violation(protocol.ClientLeg, broken("a stream of no port, or of no connection"))
	}
	client := f.u.client
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.opening[request]
	switch kind := h.fields[streamType]; {
	case kind == errorStream && c == nil:
		if f.over || f.open >= maxConnections || !f.u.through.TakePlace() {
			return client.write(func(dst []byte) []byte { return client.framing.reset(dst, h.stream) })
		}
		c = newConnection(f, uint16(port))
		c.fails = h.stream
		f.opening[request] = c
		f.open++
	case kind == dataStream && c != nil && c.port == uint16(port):
		c.data = h.stream
		delete(f.opening, request)
	case kind == dataStream && c == nil: // that for failures was not taken
		return client.write(func(dst []byte) []byte { return client.framing.reset(dst, h.stream) })
	default:
		return violation(protocol.ClientLeg, broken("a stream that belongs to no connection"))
	}
	f.byClient[h.stream] = c
	if err := client.write(func(dst []byte) []byte { return client.framing.accept(dst, h.stream) }); err != nil {
		return err
	}
	if c.data != 0 {
		f.u.wait.Go(c.serve)
	}
	return nil
}

// reach opens a connection's streams at the server.
func (f *portForward) reach(c *connection) error {
	server := f.u.server
	f.mu.Lock()
	defer f.mu.Unlock()
	c.failsUp, c.dataUp = f.last+1, f.last+3
	fields := map[string]string{streamType: errorStream, portField: strconv.Itoa(int(c.port)), requestField: strconv.Itoa(int(f.last / 4))}
	f.last += 4
	f.byServer[c.failsUp], f.byServer[c.dataUp] = c, c
	return server.write(func(dst []byte) []byte {
		dst = server.framing.open(dst, c.failsUp, fields)
		dst = server.framing.end(dst, c.failsUp)
		fields[streamType] = dataStream
		return server.framing.open(dst, c.dataUp, fields)
	})
}

// forget takes out a connection that is over.
func (f *portForward) forget(c *connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byClient, c.data)
	delete(f.byClient, c.fails)
	delete(f.byServer, c.dataUp)
	delete(f.byServer, c.failsUp)
	f.open--
	f.u.through.GivePlace()
}

func (f *portForward) fromServer(h happening) error {
	if h.kind == left {
		return errLeft
	}
	f.mu.Lock()
	c := f.byServer[h.stream]
	f.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.fromServer(h)
}

// finish waits for the connections, which end with the request. A client ends a
// port-forward by leaving.
func (f *portForward) finish() protocol.Outcome {
	here := f.u.ctx.Err() == nil
	f.mu.Lock()
	all := make(map[*connection]struct{}, len(f.byServer))
	for _, c := range f.byServer {
		all[c] = struct{}{}
	}
	for range f.opening { // those that were never begun
		f.u.through.GivePlace()
	}
	clear(f.opening)
	f.over = true
	f.mu.Unlock()
	for c := range all {
		c.flush()
	}
	f.u.cancel()
	if here {
		return protocol.Outcome{Status: protocol.Failed, Code: "lost"}
	}
	return protocol.Outcome{Status: protocol.OK}
}

// record keeps a chunk, or ends the session.
func (u *upgraded) record(op *protocol.Asked, stream protocol.Stream, chunk []byte) error {
	if err := op.Record(stream, chunk); err != nil {
		if !errors.Is(err, protocol.ErrEnded) {
			u.through.Fail(err)
		}
		return errOver
	}
	return nil
}
