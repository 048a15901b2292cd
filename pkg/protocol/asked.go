package protocol

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
)

// ErrEnded is what recording for an operation returns once it has ended.
var ErrEnded = errors.New("the operation has ended")

// Asked is an operation from its question to its end, for a protocol with an
// engine of its own: streams of one operation are recorded by several
// goroutines, and whichever comes first ends it.
type Asked struct {
	Op    operation.Operation
	began time.Time

	mu       sync.Mutex
	exchange Exchange // nil once it has ended; guarded by mu
	masked   int64    // guarded by mu
}

// Ask asks the guard, as the role that the server runs the operation as. What
// it returns has to be ended in any case, refused or not; nil only when the
// guard could not even begin.
func (c *Conn) Ask(ctx context.Context, op operation.Operation, waiting func(Waiting)) (*Asked, Decision, error) {
	op.Context.Role = c.Credential.User
	a := &Asked{Op: op, began: time.Now()}
	exchange, err := c.Guard.Begin(ctx, &a.Op)
	if err != nil {
		return nil, Decision{}, err
	}
	a.exchange = exchange
	decision, now, err := exchange.DecideNow()
	if err == nil && !now {
		decision, err = exchange.Decide(ctx, waiting)
	}
	if err == nil {
		err = ctx.Err() // an answer that came too late
	}
	if err != nil {
		return a, Decision{}, err
	}
	return a, decision, nil
}

// Record keeps a chunk before it is forwarded.
func (a *Asked) Record(stream Stream, chunk []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exchange == nil {
		return ErrEnded
	}
	return a.exchange.Record(stream, time.Since(a.began), chunk)
}

// Digested is Record for a stream that the caller hashes.
func (a *Asked) Digested(stream Stream, chunk []byte, sum func() string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exchange == nil {
		return ErrEnded
	}
	return a.exchange.Digested(stream, time.Since(a.began), chunk, sum)
}

// Hid counts values that were masked.
func (a *Asked) Hid(values int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.masked += int64(values)
}

// Finish is Record of the last chunk of the answer, and End.
func (a *Asked) Finish(chunk []byte, outcome Outcome) error {
	exchange, outcome := a.close(outcome)
	if exchange == nil {
		return ErrEnded
	}
	return exchange.Finish(time.Since(a.began), chunk, outcome)
}

// End ends the operation, once. nil is allowed.
func (a *Asked) End(outcome Outcome) error {
	if a == nil {
		return nil
	}
	exchange, outcome := a.close(outcome)
	if exchange == nil {
		return nil
	}
	return exchange.Done(outcome)
}

// close takes the exchange, so that nothing more is recorded.
func (a *Asked) close(outcome Outcome) (Exchange, Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	exchange := a.exchange
	a.exchange = nil
	outcome.Masked += a.masked
	return exchange, outcome
}
