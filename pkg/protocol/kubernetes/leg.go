package kubernetes

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// pieceBytes is how much is read of a leg, and written to it, at once.
	pieceBytes = 32 << 10
	// maxLater is how much that nobody waits for may be still to be written.
	maxLater = 16
	// heartbeat is how often a client is asked whether it is there, as kubectl
	// asks.
	heartbeat = 5 * time.Second
	// settling is how long a client that was upgraded over WebSocket may take to be
	// ready: kubectl discards what comes for a stream that it has not made yet, a
	// refusal too, and then ends as if all were well. A server takes longer anyway.
	settling = 250 * time.Millisecond
)

// leg is one connection of a request that was upgraded.
type leg struct {
	side    protocol.Leg
	conn    net.Conn
	in      io.Reader // what was read of conn already, then the rest
	framing framing
	gone    func()        // is called when the peer cannot be written to; nil: nobody is told
	waits   chan struct{} // something is in late
	quiet   time.Time     // nothing is written before

	lateMu sync.Mutex
	late   []func(dst []byte) []byte // to be written before anything else; guarded by lateMu

	mu  sync.Mutex
	out []byte // guarded by mu
}

func newLeg(side protocol.Leg, conn net.Conn, in io.Reader, framing framing) *leg {
	return &leg{side: side, conn: conn, in: in, framing: framing, waits: make(chan struct{}, 1)}
}

// run gives what happens to take until the leg ends, which is nil, or take
// wants no more. Pings are answered meanwhile.
func (l *leg) run(take func(happening) error) error {
	var answering sync.WaitGroup
	done := make(chan struct{})
	answering.Go(func() { l.writeLate(done) })
	defer answering.Wait()
	defer func() { _ = l.conn.Close() }() // an answer may be in the way of its end
	defer close(done)
	buffer := make([]byte, pieceBytes)
	var all []happening
	for {
		n, err := l.in.Read(buffer)
		var wrong error
		all, wrong = l.framing.read(buffer[:n], all[:0])
		for _, h := range all {
			if h.kind == pinged {
				l.later(func(dst []byte) []byte { return l.framing.pong(dst, h.data) })
				continue
			}
			if err := take(h); err != nil {
				return err
			}
		}
		if wrong != nil {
			return violation(l.side, wrong)
		}
		if err != nil {
			return nil //nolint:nilerr // however it ended, nothing more comes
		}
	}
}

// write encodes and writes, behind what was left for later. It waits for as long
// as the peer takes nothing.
func (l *leg) write(encode func(dst []byte) []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := time.Until(l.quiet); wait > 0 {
		<-time.After(wait)
	}
	l.out = l.out[:0]
	for _, late := range l.takeLate() {
		l.out = late(l.out)
	}
	l.out = encode(l.out)
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.conn.Write(l.out)
	return err
}

// later is write that waits for nobody. When too much waits already, nothing is
// written: a peer that sends pings and reads no answers gets none.
func (l *leg) later(encode func(dst []byte) []byte) {
	l.lateMu.Lock()
	defer l.lateMu.Unlock()
	if len(l.late) >= maxLater {
		return
	}
	l.late = append(l.late, encode)
	select {
	case l.waits <- struct{}{}:
	default:
	}
}

func (l *leg) takeLate() []func(dst []byte) []byte {
	l.lateMu.Lock()
	defer l.lateMu.Unlock()
	late := l.late
	l.late = nil
	return late
}

// writeLate writes what was left for later. Where somebody is told that the peer
// is gone it is asked now and again: one that left while it was not read, because
// nobody takes what it sent, is noticed by nothing else.
func (l *leg) writeLate(done <-chan struct{}) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-l.waits:
		case <-tick.C:
			if l.gone != nil {
				l.later(l.framing.ping)
			}
		case <-done:
			return
		}
		if l.write(func(dst []byte) []byte { return dst }) != nil {
			if l.gone != nil {
				l.gone()
			}
			return
		}
	}
}

// chunk writes data of a stream.
func (l *leg) chunk(stream uint32, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), pieceBytes)
		if err := l.write(func(dst []byte) []byte { return l.framing.chunk(dst, stream, data[:n]) }); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// end says that nothing more comes on a stream.
func (l *leg) end(stream uint32) error {
	return l.write(func(dst []byte) []byte { return l.framing.end(dst, stream) })
}
