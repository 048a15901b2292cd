package protocoltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Asked is an operation that waits for the script's answer.
type Asked struct {
	Operation *operation.Operation
	answer    chan protocol.Decision
	waiting   func(protocol.Waiting)
}

// Guard is a guard that a test answers by hand. It checks what every plug-in
// owes: one Decide and one Done per operation, in this order, and no chunk of
// an operation that was not allowed or has ended.
type Guard struct {
	asked chan *Asked
	done  chan protocol.Outcome

	mu     sync.Mutex
	last   uint64  // guarded by mu
	open   int     // guarded by mu
	broken []error // guarded by mu
}

// NewGuard returns a guard that nobody has asked.
func NewGuard() *Guard {
	return &Guard{asked: make(chan *Asked), done: make(chan protocol.Outcome, 1024)}
}

// Err returns what the plug-in did against the contract, after its session.
func (g *Guard) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	broken := errors.Join(g.broken...)
	if g.open > 0 {
		broken = errors.Join(broken, fmt.Errorf("%d operations were never done", g.open))
	}
	return broken
}

func (g *Guard) breach(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = append(g.broken, err)
	return err
}

// Begin implements protocol.Guard.
func (g *Guard) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	g.open++
	op.ID = g.last
	return &exchange{guard: g, op: op}, nil
}

// exchange is used by one goroutine at a time.
type exchange struct {
	guard   *Guard
	op      *operation.Operation
	asked   bool
	decided bool
	allowed bool
	ended   bool
}

// DecideNow implements protocol.Exchange: it always takes time.
func (x *exchange) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{}, false, nil
}

// Decide implements protocol.Exchange: the script answers.
func (x *exchange) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if x.asked {
		return protocol.Decision{}, x.guard.breach("operation %d was asked about twice", x.op.ID)
	}
	x.asked = true
	defer func() { x.decided = true }()
	a := &Asked{Operation: x.op, answer: make(chan protocol.Decision, 1), waiting: waiting}
	select {
	case x.guard.asked <- a:
	case <-ctx.Done():
		return protocol.Decision{}, ctx.Err()
	}
	select {
	case d := <-a.answer:
		x.allowed = d.Effect == protocol.Allow
		return d, nil
	case <-ctx.Done():
		return protocol.Decision{}, ctx.Err()
	}
}

// Record implements protocol.Exchange.
func (x *exchange) Record(stream protocol.Stream, _ time.Duration, _ []byte) error {
	if x.ended || stream == protocol.Request && !x.allowed {
		return x.guard.breach("a chunk of operation %d came when it was not open", x.op.ID)
	}
	return nil
}

// Digested implements protocol.Exchange.
func (x *exchange) Digested(stream protocol.Stream, at time.Duration, chunk []byte, _ func() string) error {
	return x.Record(stream, at, chunk)
}

// Finish implements protocol.Exchange.
func (x *exchange) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if err := x.Record(protocol.Response, at, chunk); err != nil {
		return err
	}
	return x.Done(outcome)
}

// Done implements protocol.Exchange.
func (x *exchange) Done(outcome protocol.Outcome) error {
	if x.ended || !x.decided {
		return x.guard.breach("operation %d is done out of turn", x.op.ID)
	}
	x.ended = true
	x.guard.mu.Lock()
	x.guard.open--
	x.guard.mu.Unlock()
	x.guard.done <- outcome
	return nil
}
