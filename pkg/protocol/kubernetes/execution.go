package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// role is what a stream of exec and attach is for. The numbers are those of
// WebSocket's channels.
type role uint32

const (
	stdin role = iota
	stdout
	stderr
	failure  // how it ended: a metav1.Status
	terminal // its sizes
	roles    = 5
)

// roleNames are how SPDY's streams are named.
var roleNames = [roles]string{"stdin", "stdout", "stderr", "error", "resize"}

// streamType is the field that names a SPDY stream.
const streamType = "streamtype"

// maxStatus is the longest status at the end of a program.
const maxStatus = 64 << 10

var (
	errLeft = errors.New("a leg has ended")
	errOver = errors.New("it cannot be recorded")
)

// execution is an exec or an attach. Its streams have the same numbers on both
// legs.
type execution struct {
	u     *upgraded
	tty   bool
	input *input
	ready chan struct{} // closed when the client has a stream for failures

	mu      sync.Mutex
	there   [roles]bool   // the client has such a stream; guarded by mu
	stream  [roles]uint32 // its number; guarded by mu
	begun   bool          // the server has its leg; guarded by mu
	over    [roles]bool   // the client was told its end; guarded by mu
	refused bool          // no stream begins any more; guarded by mu
	notes   []string      // still to be said; guarded by mu

	sizes   []byte // of the terminal, that are not whole yet; of the client's reader
	mask    [roles]*protocol.Masking
	status  []byte // what came of it; of the server's reader
	outcome protocol.Outcome
}

func newExecution(u *upgraded, tty bool) *execution {
	x := &execution{u: u, tty: tty, input: newInput(u.ctx, maxInput), ready: make(chan struct{})}
	if u.wanted.websocket {
		for r := range role(roles) {
			x.there[r], x.stream[r] = true, uint32(r)
		}
		close(x.ready)
	}
	return x
}

// roleOf returns what a stream is for.
func (x *execution) roleOf(stream uint32) (role, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for r := range role(roles) {
		if x.there[r] && x.stream[r] == stream {
			return r, true
		}
	}
	return 0, false
}

func (x *execution) fromClient(h happening) error {
	if h.kind == opened {
		return x.open(h)
	}
	if h.kind == left {
		return errLeft
	}
	r, known := x.roleOf(h.stream)
	if !known {
		return nil // it was reset
	}
	switch {
	case h.kind == came && r == stdin:
		x.input.put(h.data)
	case h.kind == came && r == terminal:
		return x.resize(h.data)
	case h.kind == came:
		return violation(protocol.ClientLeg, broken("data on a stream that only the server writes"))
	case (h.kind == ended || h.kind == reset) && r == stdin:
		x.input.end()
	}
	return nil
}

// open takes a stream that the client opened.
func (x *execution) open(h happening) error {
	r := role(slices.Index(roleNames[:], h.fields[streamType]))
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case r >= roles:
		return violation(protocol.ClientLeg, broken("a stream of no known kind"))
	case x.there[r]:
		return violation(protocol.ClientLeg, broken("a second stream of one kind"))
	}
	x.there[r], x.stream[r] = true, h.stream
	if err := x.u.client.write(func(dst []byte) []byte { return x.u.client.framing.accept(dst, h.stream) }); err != nil {
		return err
	}
	if r == failure {
		close(x.ready)
	}
	x.sayNotes()
	switch {
	case x.refused:
		x.over[r] = true
		return x.u.client.end(h.stream)
	case x.begun:
		return x.mirror(r)
	}
	return nil
}

// mirror opens a stream at the server as the client did. mu is held.
func (x *execution) mirror(r role) error {
	server := x.u.server
	return server.write(func(dst []byte) []byte {
		return server.framing.open(dst, x.stream[r], map[string]string{streamType: roleNames[r]})
	})
}

// resize takes sizes of the terminal, one JSON object each.
func (x *execution) resize(data []byte) error {
	for _, c := range data {
		if x.sizes = append(x.sizes, c); c != '}' {
			continue
		}
		var size struct{ Width, Height uint16 }
		if json.Unmarshal(x.sizes, &size) != nil {
			return violation(protocol.ClientLeg, broken("a size of a terminal that is none"))
		}
		x.sizes = x.sizes[:0]
		x.input.resize(sizeText(size.Width, size.Height))
	}
	if len(x.sizes) > 256 {
		return violation(protocol.ClientLeg, broken("a size of a terminal that is too long"))
	}
	return nil
}

func (x *execution) begin() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun = true
	if !x.u.wanted.websocket {
		order := []role{stdin, stdout, stderr, failure, terminal}
		slices.SortFunc(order, func(a, b role) int { return int(x.stream[a]) - int(x.stream[b]) })
		for _, r := range order {
			if !x.there[r] {
				continue
			}
			if err := x.mirror(r); err != nil {
				return err
			}
		}
	}
	conn := x.u.through.Conn()
	if !conn.Masks.Empty() {
		for _, r := range []role{stdout, stderr} {
			x.mask[r] = conn.NewMasking(x.u.op, func(chunk []byte) bool { return x.output(r, chunk) == nil })
		}
	}
	x.u.wait.Go(x.feed)
	return nil
}

// feed records and forwards what the client sends.
func (x *execution) feed() {
	piece := make([]byte, 0, pieceBytes)
	for {
		bytes, size, ended, more := x.input.next(piece[:0])
		if !more || x.feedOne(bytes, size, ended) != nil {
			return
		}
	}
}

func (x *execution) feedOne(bytes []byte, size string, ended bool) error {
	server := x.u.server
	if size != "" {
		if err := x.u.record(x.u.op, protocol.Size, []byte(size)); err != nil {
			return err
		}
		if err := server.chunk(x.numberOf(terminal), sizeJSON(size)); err != nil {
			return err
		}
	}
	if len(bytes) > 0 {
		if err := x.u.record(x.u.op, protocol.Input, bytes); err != nil {
			return err
		}
		if err := server.chunk(x.numberOf(stdin), bytes); err != nil {
			return err
		}
	}
	if ended {
		return server.end(x.numberOf(stdin))
	}
	return nil
}

func (x *execution) numberOf(r role) uint32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stream[r]
}

// speaks is true: there are streams to say something on.
func (x *execution) speaks() bool { return true }

// tell says a line to the client: where a terminal is there is no other stream
// than stdout.
func (x *execution) tell(text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.notes) < maxLater {
		x.notes = append(x.notes, text)
	}
	x.sayNotes()
}

// sayNotes says what can be said. mu is held.
func (x *execution) sayNotes() {
	to, end := stderr, "\n"
	if x.tty {
		to, end = stdout, "\r\n"
	}
	if !x.there[to] {
		return
	}
	for _, note := range x.notes {
		x.u.client.later(func(dst []byte) []byte {
			return x.u.client.framing.chunk(dst, x.stream[to], []byte(note+end))
		})
	}
	x.notes = nil
}

func (x *execution) refuse(code int, why string) error {
	ctx, cancel := context.WithTimeout(x.u.ctx, handshakeTime)
	defer cancel()
	select {
	case <-x.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	return x.fail(code, why)
}

// fail says how it ended where no server did, and ends all streams.
func (x *execution) fail(code int, why string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.refused = true
	_ = x.u.client.conn.SetWriteDeadline(time.Now().Add(lastWords))
	if err := x.u.client.chunk(x.stream[failure], statusOf(&httpproxy.Refusal{Code: code, Message: why})); err != nil {
		return err
	}
	return x.endAll()
}

// endAll ends what the client has of streams. mu is held.
func (x *execution) endAll() error {
	for r := range role(roles) {
		if !x.there[r] || x.over[r] {
			continue
		}
		x.over[r] = true
		if err := x.u.client.end(x.stream[r]); err != nil {
			return err
		}
	}
	return nil
}
