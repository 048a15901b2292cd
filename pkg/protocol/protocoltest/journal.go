package protocoltest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Journal is a guard that keeps all that it is told, and refuses what is told
// once an operation has ended. The zero value allows everything.
type Journal struct {
	// Decide answers for an operation; nil allows it. It may wait, until ctx
	// ends.
	Decide func(ctx context.Context, op *operation.Operation) protocol.Decision
	// Fail is what recording fails with; nil: it does not.
	Fail func(op *operation.Operation, stream protocol.Stream) error

	mu      sync.Mutex
	entries []*Entry // guarded by mu
}

// Entry is one operation.
type Entry struct {
	Op       operation.Operation
	Text     string // of the operation
	Decision protocol.Decision
	Streams  map[protocol.Stream]string // what was recorded, joined
	Chunks   int
	Outcome  protocol.Outcome
	Ended    bool
}

// Entries returns what was kept so far.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []Entry
	for _, e := range j.entries {
		one := *e
		one.Streams = make(map[protocol.Stream]string)
		for stream, text := range e.Streams {
			one.Streams[stream] = text
		}
		all = append(all, one)
	}
	return all
}

// Requests are the entries without those that connect.
func (j *Journal) Requests() []Entry {
	return slices.DeleteFunc(j.Entries(), func(e Entry) bool { return e.Op.Kind == operation.Connect })
}

// Await waits until the entries are as they are wanted.
func (j *Journal) Await(is func(all []Entry) bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !is(j.Requests()) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}

// Begin implements protocol.Guard.
func (j *Journal) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := &Entry{Op: *op, Text: string(op.Text.Reveal()), Streams: make(map[protocol.Stream]string)}
	j.entries = append(j.entries, e)
	op.ID = uint64(len(j.entries))
	return &journalled{journal: j, entry: e, op: op}, nil
}

// journalled is one exchange.
type journalled struct {
	journal *Journal
	entry   *Entry
	op      *operation.Operation
}

// DecideNow implements protocol.Exchange.
func (x *journalled) DecideNow() (protocol.Decision, bool, error) {
	if x.journal.Decide != nil {
		return protocol.Decision{}, false, nil
	}
	return x.decided(protocol.Decision{Effect: protocol.Allow}), true, nil
}

// Decide implements protocol.Exchange.
func (x *journalled) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if x.journal.Decide == nil {
		return x.decided(protocol.Decision{Effect: protocol.Allow}), nil
	}
	waiting(protocol.Waiting{Approval: 7, Reason: "a test"})
	decision := x.journal.Decide(ctx, x.op)
	if err := ctx.Err(); err != nil {
		return protocol.Decision{}, err
	}
	return x.decided(decision), nil
}

func (x *journalled) decided(d protocol.Decision) protocol.Decision {
	x.journal.mu.Lock()
	defer x.journal.mu.Unlock()
	x.entry.Decision = d
	return d
}

// Record implements protocol.Exchange.
func (x *journalled) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	if fail := x.journal.Fail; fail != nil {
		if err := fail(x.op, stream); err != nil {
			return err
		}
	}
	x.journal.mu.Lock()
	defer x.journal.mu.Unlock()
	if x.entry.Ended {
		return fmt.Errorf("a chunk of operation %d came after its end", x.op.ID)
	}
	x.entry.Streams[stream] += string(chunk)
	x.entry.Chunks++
	return nil
}

// Digested implements protocol.Exchange.
func (x *journalled) Digested(stream protocol.Stream, at time.Duration, chunk []byte, _ func() string) error {
	return x.Record(stream, at, chunk)
}

// Done implements protocol.Exchange.
func (x *journalled) Done(outcome protocol.Outcome) error {
	x.journal.mu.Lock()
	defer x.journal.mu.Unlock()
	if x.entry.Ended {
		return fmt.Errorf("operation %d ends twice", x.op.ID)
	}
	x.entry.Outcome, x.entry.Ended = outcome, true
	return nil
}

// Finish implements protocol.Exchange.
func (x *journalled) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if err := x.Record(protocol.Response, at, chunk); err != nil {
		return err
	}
	return x.Done(outcome)
}
