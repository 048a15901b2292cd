package protocol

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// ErrInterrupted is given to Conversation.Decided when Interrupt ended a wait.
var ErrInterrupted = errors.New("the wait was interrupted")

// ErrClientGone is given to Conversation.Decided when the client closed its
// leg during a wait.
var ErrClientGone = errors.New("the client closed its leg")

// Timeouts of the pump.
const (
	dialTimeout  = 10 * time.Second // a dial or a TLS handshake
	closeTimeout = 2 * time.Second  // what is still to be written when a session ends
)

// Pump runs a Conversation over the two legs of a session. It has all of the
// I/O of a message protocol: one goroutine reads each leg, feeds the
// conversation under one lock, and writes what came of it after releasing the
// lock, so that a peer that does not read never stops the other direction.
//
// It promises that bytes are written to a leg in the order of their effects,
// that nothing is written before it is recorded, that each operation which the
// guard began is ended, and that Run returns, with both legs closed and no
// goroutine left, soon after the conversation or its context ends.
type Pump struct {
	conn  *Conn
	conv  Conversation
	limit int
	end   context.CancelFunc
	wait  sync.WaitGroup

	mu        sync.Mutex
	changed   *sync.Cond // paused, ended or a wire's queue changed
	wires     [2]*wire
	actions   []Action
	open      map[*Pending]struct{}
	asking    context.Context         // of one Ask after the other, until one is cancelled
	cancel    context.CancelCauseFunc // of asking
	interrupt context.CancelCauseFunc // cancel while an Ask is open, else nil
	paused    [2]bool
	ended     bool
	err       error
}

// NewPump returns a pump for one session. limit is the most bytes that the
// conversation may leave unconsumed on a leg.
func NewPump(conn *Conn, conv Conversation, limit int) *Pump {
	p := &Pump{conn: conn, conv: conv, limit: limit, open: make(map[*Pending]struct{})}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// Run serves the session to its end and returns what Protocol.Serve returns.
func (p *Pump) Run(serving context.Context) error {
	ctx, end := context.WithCancel(serving)
	p.end = end
	defer p.end()
	p.wires[ClientLeg] = newWire(p.conn.Client, clientBuffer)
	stop := context.AfterFunc(ctx, p.abort)
	defer stop()
	p.start(ctx, ClientLeg)
	p.wait.Wait()
	p.abandon()
	if serving.Err() == nil {
		settle(p.conn.Client)
	}
	for _, w := range p.wires {
		if w != nil {
			_ = w.conn.Close() // a leg that is gone already has nothing to lose
		}
	}
	return p.err
}

// Interrupt ends the wait of an open Ask and reports whether there was one. Any
// goroutine may call it.
func (p *Pump) Interrupt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interrupt == nil {
		return false
	}
	p.interrupt(ErrInterrupted)
	return true
}

// start runs the reader of a leg.
func (p *Pump) start(ctx context.Context, leg Leg) {
	p.wait.Go(func() {
		defer p.contain(leg)
		for p.turn(ctx, leg) {
		}
	})
}

// contain turns a panic of the conversation into the end of this session only.
// The panic's value may quote what a peer sent, so it is not logged.
func (p *Pump) contain(leg Leg) {
	if recover() == nil {
		return
	}
	p.conn.Log.Error("A conversation panicked", zap.ByteString("stack", debug.Stack()))
	p.fail(&Violation{Leg: leg, Reason: "the conversation could not go on"})
}

// turn feeds a leg once, does what came of it, and reads more if that is what
// the conversation needs. It reports false when the leg is done with.
func (p *Pump) turn(ctx context.Context, leg Leg) bool {
	var again bool
	goesOn := p.call(ctx, leg, func(w *wire, to []Action) []Action {
		n, actions := p.conv.Feed(leg, w.unread(), to)
		w.consume(n)
		again = feedsAgain(leg, actions)
		return actions
	})
	if !goesOn || again {
		return goesOn
	}
	return p.read(ctx, leg)
}

// feedsAgain reports whether the leg has to be fed what it has before more is
// read.
func feedsAgain(leg Leg, actions []Action) bool {
	return slices.ContainsFunc(actions, func(a Action) bool {
		switch a.Kind {
		case Ask, Dial:
			return leg == ClientLeg
		case StartTLS, Pause:
			return leg == a.Leg
		}
		return false
	})
}

// read takes more bytes from a leg. Only this leg's goroutine calls it.
func (p *Pump) read(ctx context.Context, leg Leg) bool {
	w := p.wires[leg]
	if err := w.makeRoom(p.limit); err != nil {
		p.fail(&Violation{Leg: leg, Reason: err.Error()})
		return false
	}
	if w.fill() == nil {
		return true
	}
	p.call(ctx, leg, func(_ *wire, to []Action) []Action { return p.conv.Changed(leg, Closed, to) })
	return false
}

// call speaks to the conversation on behalf of a leg and does what comes of it.
// It reports whether the session goes on.
func (p *Pump) call(ctx context.Context, leg Leg, speak func(w *wire, to []Action) []Action) bool {
	claims, last, ok := p.speak(leg, speak)
	if !ok {
		return false
	}
	p.flush(claims)
	return p.block(ctx, last)
}

// speak waits until the leg is not paused, calls the conversation, and does
// under the lock all that takes no time.
func (p *Pump) speak(leg Leg, speak func(w *wire, to []Action) []Action) (claims [2]claimed, last Action, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.paused[leg] && !p.ended {
		p.changed.Wait()
	}
	if p.ended {
		return claims, last, false
	}
	last, err := p.perform(speak(p.wires[leg], p.actions[:0]))
	if err != nil {
		last = Action{Kind: End, Err: err}
	}
	return p.claim(), last, true
}

// perform does all actions that take no time, under the lock, and returns the
// one that does.
func (p *Pump) perform(actions []Action) (last Action, err error) {
	p.actions = actions[:0]
	for i, e := range actions {
		switch e.Kind {
		case Write:
			err = p.write(e, actions[i+1:])
		case Done:
			err = p.done(e.Op)
		case Pause:
			p.paused[e.Leg] = true
		case Resume:
			p.paused[e.Leg] = false
			p.changed.Broadcast()
		case CloseWrite:
			if w := p.wires[e.Leg]; w != nil {
				w.closing = true
			}
		case Ask, Dial, StartTLS, End:
			last = e
		}
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// write records bytes and puts them into the leg's batch. When the next action
// ends their operation, both are one record.
func (p *Pump) write(e Action, next []Action) error {
	if e.Op != nil && e.Op.exchange != nil {
		if err := p.record(e, next); err != nil {
			return fmt.Errorf("record a chunk: %w", err)
		}
	}
	if w := p.wires[e.Leg]; w != nil {
		w.batch = append(w.batch, e.Bytes)
	}
	return nil
}

func (p *Pump) record(e Action, next []Action) error {
	at := time.Since(e.Op.began)
	if e.Leg == ServerLeg {
		return e.Op.exchange.Record(Request, at, e.Bytes)
	}
	if len(next) > 0 && next[0].Kind == Done && next[0].Op == e.Op {
		return p.close(e.Op).Finish(at, e.Bytes, e.Op.Outcome)
	}
	return e.Op.exchange.Record(Response, at, e.Bytes)
}

// close takes an operation's exchange, which is about to end; nil when it has
// ended.
func (p *Pump) close(op *Pending) Exchange {
	delete(p.open, op)
	exchange := op.exchange
	op.exchange = nil
	return exchange
}

// done ends an operation's exchange, unless its last chunk did.
func (p *Pump) done(op *Pending) error {
	exchange := p.close(op)
	if exchange == nil {
		return nil
	}
	if err := exchange.Done(op.Outcome); err != nil {
		return fmt.Errorf("record an outcome: %w", err)
	}
	return nil
}

// abandon ends what the conversation did not end, in the order of its asking.
func (p *Pump) abandon() {
	left := make([]*Pending, 0, len(p.open))
	for op := range p.open {
		left = append(left, op)
	}
	slices.SortFunc(left, func(a, b *Pending) int { return int(int64(a.Operation.ID) - int64(b.Operation.ID)) })
	for _, op := range left {
		op.Outcome.Status = Abandoned
		if err := p.done(op); err != nil && p.err == nil {
			p.err = err
		}
	}
}

// fail ends the session with an error.
func (p *Pump) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(err)
}

// finish marks the end, wakes every goroutine, and lets what is still queued be
// written for a short time. The lock is held. The first reason stays.
func (p *Pump) finish(err error) {
	if p.ended {
		return
	}
	p.ended, p.err = true, err
	now := time.Now()
	for _, w := range p.wires {
		if w != nil {
			_ = w.conn.SetReadDeadline(now)
			_ = w.conn.SetWriteDeadline(now.Add(closeTimeout))
		}
	}
	p.changed.Broadcast()
	p.end()
}

// abort ends the session because its context ended.
func (p *Pump) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.finish(nil)
	for _, w := range p.wires {
		if w != nil {
			_ = w.conn.SetDeadline(time.Now())
		}
	}
}
