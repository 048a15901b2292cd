package protocol

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
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
// I/O of a message protocol. Whoever brings news of the session (the loop of a
// leg, a goroutine of an action that took its time) drives it, unless somebody
// does already and hears of it then. Driving never waits: not for a peer, not
// for a person, not for the disk.
//
// It promises that bytes are written to a leg in the order of their effects,
// that nothing is written before it is recorded, that a peer that does not read
// never stops the other direction, that each operation which the guard began is
// ended, and that Run returns, with both legs closed and no goroutine left,
// soon after the conversation or its context ends.
type Pump struct {
	conn   *Conn
	log    *zap.Logger
	conv   Conversation
	limit  int
	poller *poller
	ctx    context.Context //nolint:containedctx // of Run, for the actions that take time
	end    context.CancelFunc
	work   sync.WaitGroup // goroutines of these actions
	over   chan struct{}  // closed when the session has ended
	empty  chan struct{}  // closed when then all is written that can be

	mu        sync.Mutex
	left      *sync.Cond              // busy became false
	busy      bool                    // guarded by mu; somebody drives
	stirred   [2]uint32               // guarded by mu; what epoll said of the legs
	news      []func()                // guarded by mu; to be done by whoever drives
	interrupt context.CancelCauseFunc // guarded by mu; cancel while an Ask is open, else nil

	// The rest is of whoever drives.
	wires   [2]*wire
	actions []Action
	open    map[*Pending]struct{}
	asking  context.Context         //nolint:containedctx // of one Ask after the other, until one is cancelled
	cancel  context.CancelCauseFunc // of asking
	answer  answer                  // to the Ask
	slow    bool                    // the next call takes long
	leaving bool                    // the client ended its direction
	err     error

	answered bool // answer is to be told
	told     bool // the client was told that its Ask waits
	ended    bool
	drained  bool
}

// answer is the answer to an Ask.
type answer struct {
	decision Decision
	err      error
}

// NewPump returns a pump for one session. limit is the most bytes that the
// conversation may leave unconsumed on a leg.
func NewPump(conn *Conn, conv Conversation, limit int) *Pump {
	p := &Pump{
		conn: conn, log: conn.Log, conv: conv, limit: limit, open: make(map[*Pending]struct{}),
		over: make(chan struct{}), empty: make(chan struct{}),
		busy: true, // Run begins
	}
	p.left = sync.NewCond(&p.mu)
	return p
}

// Run serves the session to its end and returns what Protocol.Serve returns.
func (p *Pump) Run(serving context.Context) error {
	loop := p.conn.Loop
	if loop == nil {
		own, err := newLoop(1)
		if err != nil {
			return err
		}
		defer own.Close()
		loop = own
	}
	p.poller = loop.pick()
	p.ctx, p.end = context.WithCancel(serving)
	defer p.end()
	if err := p.join(ClientLeg, p.conn.Client, clientBuffer); err != nil {
		return err
	}
	stop := context.AfterFunc(serving, func() { p.tell(func() { p.stop(serving) }) })
	defer stop()
	p.drive(nil)
	<-p.over
	ordinary := p.linger(serving)
	p.work.Wait()
	p.seize()
	p.abandon()
	if ordinary {
		p.wires[ClientLeg].settle()
	}
	for _, w := range p.wires {
		if w != nil {
			w.close()
		}
	}
	return p.err
}

// stop ends the session because its context has ended. A client whose session
// a person stopped is told.
func (p *Pump) stop(serving context.Context) {
	if !p.ended && stopped(serving) {
		p.change(ClientLeg, ClientLeg, Stopped)
	}
	p.finish(nil)
}

func stopped(serving context.Context) bool { return errors.Is(context.Cause(serving), ErrStopped) }

// linger waits for a short time until what is queued is written, and reports
// whether the session ended by its own word or a person's.
func (p *Pump) linger(serving context.Context) (ordinary bool) {
	ended := serving.Done()
	if stopped(serving) {
		ended = nil // there is something left to say
	}
	select {
	case <-p.empty:
	case <-ended:
	case <-time.After(closeTimeout):
	}
	return serving.Err() == nil || stopped(serving)
}

// join makes a connection a leg of the session.
func (p *Pump) join(leg Leg, conn net.Conn, buffer int) error {
	s, err := takeOver(conn)
	if err != nil {
		return fmt.Errorf("take over the %s leg: %w", leg, err)
	}
	w := newWire(s, buffer)
	w.poller = p.poller
	if w.id, err = p.poller.watch(s.fd, place{p, leg}); err != nil {
		return errors.Join(err, unix.Close(s.fd))
	}
	p.wires[leg] = w
	return nil
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

// stir is told by the poller what has become of a leg, and drives.
func (p *Pump) stir(leg Leg, events uint32, on *poller) {
	p.mu.Lock()
	p.stirred[leg] |= events
	mine := !p.busy
	p.busy = true
	p.mu.Unlock()
	if mine {
		p.drive(on)
	}
}

// tell has something done by whoever drives: if nobody does, by the caller.
func (p *Pump) tell(do func()) {
	p.mu.Lock()
	p.news = append(p.news, do)
	mine := !p.busy
	p.busy = true
	p.mu.Unlock()
	if mine {
		p.drive(nil)
	}
}

// leave ends driving, unless there are news.
func (p *Pump) leave() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.news) > 0 || p.stirred != [2]uint32{} {
		return false
	}
	p.busy = false
	p.left.Broadcast()
	return true
}

// seize waits until nobody drives; nobody will any more.
func (p *Pump) seize() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.busy {
		p.left.Wait()
	}
	p.busy = true
}

// aside does on a goroutine of its own what takes time.
func (p *Pump) aside(do func()) {
	p.work.Go(func() {
		defer func() {
			if recover() != nil {
				p.panicked(ClientLeg)
			}
		}()
		do()
	})
}

// panicked turns a panic into the end of this session only. The panic's value
// may quote what a peer sent, so it is not logged.
func (p *Pump) panicked(leg Leg) {
	p.log.Error("A conversation panicked", zap.ByteString("stack", debug.Stack()))
	violation := &Violation{Leg: leg, Reason: "the conversation could not go on"}
	p.tell(func() { p.finish(violation) })
}

// finish marks the end, and lets what is still queued be written for a short
// time. The first reason stays.
func (p *Pump) finish(err error) {
	if p.ended {
		return
	}
	p.ended, p.err = true, err
	p.end()
	close(p.over)
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

// hear takes in what others said meanwhile.
func (p *Pump) hear() {
	p.mu.Lock()
	news, stirred := p.news, p.stirred
	p.news, p.stirred = nil, [2]uint32{}
	p.mu.Unlock()
	for leg, events := range stirred {
		w := p.wires[leg]
		if events == 0 || w == nil {
			continue
		}
		w.stir(events)
		if w.ended && Leg(leg) == ClientLeg {
			p.leaving = true
			p.giveUp()
		}
	}
	for _, do := range news {
		do()
	}
}
