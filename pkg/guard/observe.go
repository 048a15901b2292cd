package guard

import (
	"context"
	"errors"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// observed is an exchange of a resource that is only observed: it allows
// everything, at once, and an error never reaches the client.
type observed struct{ x *exchange }

// errNoTrail reports a session whose opening could not be recorded.
var errNoTrail = errors.New("the session has no trail")

// Decide records what policy would have said, and allows.
func (o *observed) Decide(context.Context, func(protocol.Waiting)) (protocol.Decision, error) {
	o.x.decided = true
	o.x.policy = o.x.guard.Policy()
	ruling := o.ruling()
	in := o.x.intent(protocol.Decision{Rule: ruling.Rule, Reason: ruling.Reason})
	in.Effect, in.Observed = ruling.Effect.String(), true
	o.keep(func() error { return o.x.guard.Trail.Intent(o.x.op, in, false) })
	return protocol.Decision{Effect: protocol.Allow}, nil
}

// ruling is what policy would have said. It has nothing to say of what nobody
// reads, which is counted instead.
func (o *observed) ruling() policy.Ruling {
	if o.x.op.Kind != operation.Unread {
		return o.x.policy.Evaluate(o.x.guard.Session, o.x.op)
	}
	o.x.guard.Unread()
	return policy.Ruling{Effect: policy.Allow, Reason: o.x.op.Unread}
}

// DecideNow is Decide, which never waits.
func (o *observed) DecideNow() (protocol.Decision, bool, error) {
	decision, err := o.Decide(context.Background(), nil)
	return decision, true, err
}

// Record implements protocol.Exchange.
func (o *observed) Record(stream protocol.Stream, at time.Duration, chunk []byte) error {
	o.keep(func() error { return o.x.Record(stream, at, chunk) })
	return nil
}

// Digested implements protocol.Exchange.
func (o *observed) Digested(stream protocol.Stream, at time.Duration, chunk []byte, sum func() string) error {
	o.keep(func() error { return o.x.Digested(stream, at, chunk, sum) })
	return nil
}

// Done implements protocol.Exchange.
func (o *observed) Done(outcome protocol.Outcome) error {
	o.keep(func() error { return o.x.Done(outcome) })
	return nil
}

// Finish implements protocol.Exchange.
func (o *observed) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	o.keep(func() error { return o.x.Finish(at, chunk, outcome) })
	return nil
}

// keep records, and tells what could not be.
func (o *observed) keep(record func() error) {
	err := errNoTrail
	if o.x.guard.Trail != nil {
		err = record()
	}
	if err != nil {
		o.x.guard.Lost(err)
	}
}
