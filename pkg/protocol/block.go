package protocol

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// ask runs one operation through the guard while its client waits.
func (p *Pump) ask(op *Pending) {
	p.open[op] = struct{}{}
	op.began = time.Now()
	exchange, err := p.conn.Guard.Begin(p.ctx, &op.Operation)
	if err != nil {
		p.answer, p.answered = answer{err: err}, true
		return
	}
	op.exchange = exchange
	decision, now, err := exchange.DecideNow()
	if err != nil {
		decision = Decision{}
	}
	if now || err != nil {
		p.answer, p.answered = answer{decision, err}, true
		return
	}
	p.wires[ClientLeg].waits, p.told = true, false
	if p.asking == nil || p.asking.Err() != nil {
		p.asking, p.cancel = context.WithCancelCause(p.ctx)
	}
	asking := p.asking
	p.setInterrupt(p.cancel)
	p.aside(func() {
		answer := decide(asking, exchange, func(why Waiting) { p.tell(func() { p.waiting(why) }) })
		p.tell(func() {
			p.setInterrupt(nil)
			if p.ctx.Err() != nil {
				return // the session ends, and says so itself
			}
			p.wires[ClientLeg].waits, p.answer, p.answered = false, answer, true
		})
	})
}

// decide asks for a decision that takes its time. What ended the wait says why
// the guard gave up, or makes an answer come too late.
func decide(ctx context.Context, exchange Exchange, waiting func(Waiting)) answer {
	decision, err := exchange.Decide(ctx, waiting)
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrInterrupted) || errors.Is(cause, ErrClientGone) || err == nil {
		err = cause
	}
	if err != nil {
		decision = Decision{}
	}
	return answer{decision, err}
}

func (p *Pump) setInterrupt(cancel context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interrupt = cancel
}

// waiting tells the conversation that its Ask waits.
func (p *Pump) waiting(why Waiting) {
	if p.ended || !p.wires[ClientLeg].waits {
		return
	}
	p.told = true
	p.giveUp()
	p.speak(ClientLeg, func(to []Action) []Action { return p.conv.Waiting(why, to) })
}

// giveUp ends the wait of a client that has left. What is decided at once is
// decided all the same.
func (p *Pump) giveUp() {
	if p.leaving && p.told && p.wires[ClientLeg].waits && p.asking != nil {
		p.cancel(ErrClientGone)
	}
}

// choose finds out which resource the client means.
func (p *Pump) choose(by Start) {
	client := p.wires[ClientLeg]
	client.waits = true
	if client.secure != nil && by.Resource == "" {
		by.ServerName = client.secure.ConnectionState().ServerName
	}
	find := p.conn.Choose
	p.aside(func() {
		ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
		defer cancel()
		conn, err := find(ctx, by)
		p.tell(func() {
			client.waits = false
			if p.ended {
				return
			}
			p.speak(ClientLeg, func(to []Action) []Action {
				conn, to := p.conv.(Chooser).Chosen(conn, err, to)
				if conn != nil {
					p.conn = conn
				}
				return to
			})
		})
	})
}

// dial opens the server leg.
func (p *Pump) dial() {
	client := p.wires[ClientLeg]
	client.waits = true
	p.aside(func() {
		ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
		defer cancel()
		conn, err := p.conn.Dial(ctx)
		p.tell(func() {
			client.waits = false
			p.dialled(conn, err)
		})
	})
}

func (p *Pump) dialled(conn net.Conn, err error) {
	if p.ended {
		if err == nil {
			_ = conn.Close()
		}
		return
	}
	if err == nil {
		err = p.join(ServerLeg, conn, serverBuffer)
	}
	if err != nil {
		p.change(ClientLeg, ServerLeg, Broken)
		return
	}
	p.change(ClientLeg, ServerLeg, Opened)
}

var errPlainBytes = errors.New("plain bytes after TLS was agreed")

// startTLS secures a leg in place, after what was said before is written.
func (p *Pump) startTLS(leg Leg) error {
	p.flush()
	w := p.wires[leg]
	secure, err := p.secured(leg, w)
	if err != nil {
		return &Violation{Leg: leg, Reason: err.Error()}
	}
	if secure == nil {
		p.change(leg, leg, Broken)
		return nil
	}
	w.waits, w.shaking = true, true
	p.aside(func() {
		ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
		defer cancel()
		err := w.socket.shake(ctx, secure.HandshakeContext)
		p.tell(func() { p.shaken(leg, w, secure, err) })
	})
	return nil
}

func (p *Pump) shaken(leg Leg, w *wire, secure *tls.Conn, err error) {
	w.waits, w.shaking = false, false
	w.socket.ended = w.ended
	if p.ended {
		return
	}
	if err != nil {
		p.change(leg, leg, Broken)
		return
	}
	w.secure, w.more = secure, true
	p.change(leg, leg, Secured)
}

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
		return tls.Client(w.socket, p.conn.TLS.Config), nil
	}
	if p.conn.ClientTLS == nil {
		return nil, nil
	}
	first := bytes.Clone(w.unread())
	w.consume(len(first))
	return tls.Server(&replayed{Conn: w.socket, first: first}, p.conn.ClientTLS), nil
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
