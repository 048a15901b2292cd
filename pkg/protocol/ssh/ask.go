package ssh

import (
	"context"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// asked is an operation from its question to its end. Streams of one operation
// are recorded by several goroutines.
type asked struct {
	op    operation.Operation
	began time.Time

	mu       sync.Mutex
	exchange protocol.Exchange // nil once it has ended; guarded by mu
	masked   int64             // guarded by mu
}

// ask asks the guard. What it returns has to be ended in any case, refused or
// not; nil only when the guard could not even begin.
func (s *session) ask(ctx context.Context, op operation.Operation, waiting func(protocol.Waiting)) (*asked, protocol.Decision, error) {
	op.Context.Role = s.conn.Credential.User
	a := &asked{op: op, began: time.Now()}
	exchange, err := s.conn.Guard.Begin(ctx, &a.op)
	if err != nil {
		return nil, protocol.Decision{}, err
	}
	a.exchange = exchange
	decision, err := exchange.Decide(ctx, waiting)
	if err == nil {
		err = ctx.Err() // an answer that came too late
	}
	if err != nil {
		return a, protocol.Decision{}, err
	}
	return a, decision, nil
}

// record keeps a chunk before it is forwarded.
func (a *asked) record(stream protocol.Stream, chunk []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exchange == nil {
		return errEnded
	}
	return a.exchange.Record(stream, time.Since(a.began), chunk)
}

// digested is record for a stream that the caller hashes.
func (a *asked) digested(stream protocol.Stream, chunk []byte, sum func() string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exchange == nil {
		return errEnded
	}
	return a.exchange.Digested(stream, time.Since(a.began), chunk, sum)
}

// hid counts values that were masked.
func (a *asked) hid(values int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.masked += int64(values)
}

// end ends the operation, once. nil is allowed.
func (a *asked) end(outcome protocol.Outcome) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exchange == nil {
		return nil
	}
	outcome.Masked = a.masked
	exchange := a.exchange
	a.exchange = nil
	return exchange.Done(outcome)
}
