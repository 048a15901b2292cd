package httpproxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

var errEnded = errors.New("the operation has ended")

// Asked is an operation from its question to its end. Streams of one operation
// may be recorded by several goroutines.
type Asked struct {
	Op    operation.Operation
	began time.Time

	mu       sync.Mutex
	exchange protocol.Exchange // nil once it has ended; guarded by mu
	masked   int64             // guarded by mu
}

// Ask asks the guard about an operation. What it returns has to be ended in any
// case, refused or not; it is nil only when the guard could not even begin, and
// can be ended all the same.
func (s *Session) Ask(ctx context.Context, op operation.Operation, waiting func(protocol.Waiting)) (*Asked, protocol.Decision, error) {
	op.Context.Role = s.conn.Credential.User
	a := &Asked{Op: op, began: time.Now()}
	exchange, err := s.conn.Guard.Begin(ctx, &a.Op)
	if err != nil {
		return nil, protocol.Decision{}, err
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
		return a, protocol.Decision{}, err
	}
	return a, decision, nil
}

// Record keeps a chunk. It must return nil before the chunk is forwarded.
func (a *Asked) Record(stream protocol.Stream, chunk []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exchange == nil {
		return errEnded
	}
	return a.exchange.Record(stream, time.Since(a.began), chunk)
}

// Hid counts values that were masked.
func (a *Asked) Hid(values int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.masked += int64(values)
}

// Finish is Record of the last chunk of the answer, and End.
func (a *Asked) Finish(chunk []byte, outcome protocol.Outcome) error {
	exchange, outcome := a.close(outcome)
	if exchange == nil {
		return errEnded
	}
	return exchange.Finish(time.Since(a.began), chunk, outcome)
}

// End ends the operation, once. nil is allowed.
func (a *Asked) End(outcome protocol.Outcome) error {
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
func (a *Asked) close(outcome protocol.Outcome) (protocol.Exchange, protocol.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	exchange := a.exchange
	a.exchange = nil
	outcome.Masked += a.masked
	return exchange, outcome
}
