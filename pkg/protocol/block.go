package protocol

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// block does the one action of a call that takes time, outside of the lock.
// It reports whether the session goes on.
func (p *Pump) block(ctx context.Context, e Action) bool {
	switch e.Kind {
	case Ask:
		return p.ask(ctx, e.Op)
	case Dial:
		return p.dial(ctx)
	case StartTLS:
		return p.startTLS(ctx, e.Leg)
	case End:
		p.fail(e.Err)
		return false
	}
	return true
}

// ask runs one operation through the guard while its client waits.
func (p *Pump) ask(ctx context.Context, op *Pending) bool {
	p.mu.Lock()
	if p.asking == nil || p.asking.Err() != nil {
		p.asking, p.cancel = context.WithCancelCause(ctx)
	}
	asking, cancel := p.asking, p.cancel
	p.interrupt = cancel
	p.open[op] = struct{}{}
	p.mu.Unlock()

	answer, err := p.decide(asking, cancel, op)
	cause := context.Cause(asking)
	if errors.Is(cause, ErrInterrupted) || errors.Is(cause, ErrClientGone) || err == nil {
		err = cause // why the guard gave up, or an answer that came too late
	}
	if err != nil {
		answer = Decision{}
	}
	p.mu.Lock()
	p.interrupt = nil
	p.mu.Unlock()
	return p.call(ctx, ClientLeg, func(_ *wire, to []Action) []Action {
		return p.conv.Decided(answer, err, to)
	})
}

func (p *Pump) decide(ctx context.Context, cancel context.CancelCauseFunc, op *Pending) (Decision, error) {
	began := time.Now()
	exchange, err := p.conn.Guard.Begin(ctx, &op.Operation)
	if err != nil {
		return Decision{}, err
	}
	p.mu.Lock() // what the server sends meanwhile may be for this operation
	op.began, op.exchange = began, exchange
	p.mu.Unlock()
	watch := watcher{wire: p.wires[ClientLeg], gone: func() { cancel(ErrClientGone) }}
	defer p.unwatch(&watch)
	return exchange.Decide(ctx, func(why Waiting) {
		watch.once.Do(watch.start)
		p.call(ctx, ClientLeg, func(_ *wire, to []Action) []Action { return p.conv.Waiting(why, to) })
	})
}

// watcher notices that a client leaves while it waits. It reads ahead only as
// far as the leg's buffer has room; a client that filled it is not watched.
type watcher struct {
	wire *wire
	gone func()
	once sync.Once
	done chan struct{} // closed when the watcher stopped; nil if it never ran
}

func (w *watcher) start() {
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		for w.wire.w < len(w.wire.in) {
			if err := w.wire.fill(); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					w.gone()
				}
				return
			}
		}
	}()
}

// unwatch stops a watcher and waits for it.
func (p *Pump) unwatch(w *watcher) {
	if w.done == nil {
		return
	}
	_ = w.wire.conn.SetReadDeadline(time.Now())
	<-w.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		_ = w.wire.conn.SetReadDeadline(time.Time{})
	}
}

// dial opens the server leg and starts its reader.
func (p *Pump) dial(ctx context.Context) bool {
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := p.conn.Dial(dialling)
	if err != nil {
		return p.change(ctx, ClientLeg, ServerLeg, Broken)
	}
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		_ = conn.Close()
		return false
	}
	p.wires[ServerLeg] = newWire(conn, serverBuffer)
	p.mu.Unlock()
	if !p.change(ctx, ClientLeg, ServerLeg, Opened) {
		return false
	}
	p.start(ctx, ServerLeg)
	return true
}

// startTLS secures a leg in place.
func (p *Pump) startTLS(ctx context.Context, leg Leg) bool {
	w := p.wires[leg]
	secured, err := p.secured(leg, w)
	if err != nil {
		p.fail(&Violation{Leg: leg, Reason: err.Error()})
		return false
	}
	if secured == nil {
		return p.change(ctx, leg, leg, Broken)
	}
	shaking, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := secured.HandshakeContext(shaking); err != nil {
		return p.change(ctx, leg, leg, Broken)
	}
	p.mu.Lock()
	w.conn = secured
	p.mu.Unlock()
	return p.change(ctx, leg, leg, Secured)
}

var errPlainBytes = errors.New("plain bytes after TLS was agreed")

// secured returns a leg's connection under TLS, before the handshake; nil
// where nothing is configured for it. What a client sent already begins its
// handshake and nothing else: bytes that somebody put in front of it make the
// handshake fail. A server has nothing to say before it.
func (p *Pump) secured(leg Leg, w *wire) (*tls.Conn, error) {
	if leg == ServerLeg {
		if len(w.unread()) > 0 {
			return nil, errPlainBytes
		}
		if p.conn.TLS.Config == nil {
			return nil, nil
		}
		return tls.Client(w.conn, p.conn.TLS.Config), nil
	}
	if p.conn.ClientTLS == nil {
		return nil, nil
	}
	first := bytes.Clone(w.unread())
	w.consume(len(first))
	return tls.Server(&replayed{Conn: w.conn, first: first}, p.conn.ClientTLS), nil
}

// replayed is a connection of which some bytes have been read already.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.first) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.first)
	r.first = r.first[n:]
	return n, nil
}

// change tells the conversation, on the goroutine of the leg by, what became
// of a leg.
func (p *Pump) change(ctx context.Context, by, leg Leg, change Change) bool {
	return p.call(ctx, by, func(_ *wire, to []Action) []Action { return p.conv.Changed(leg, change, to) })
}
