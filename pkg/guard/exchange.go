package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
)

// exchange is one operation's conversation with the guard. One goroutine at a
// time uses it, as protocol.Exchange says.
type exchange struct {
	guard   *Guard
	op      *operation.Operation
	began   time.Time
	policy  *policy.Policy // that ruled
	ruling  policy.Ruling
	decided bool
	allowed bool // by the decision
	done    bool

	evaluated  bool
	beforehand bool // a reviewed file let it go on
}

// Decide asks policy, then a person where policy wants one, and makes the
// intent durable. Only then does it say allow.
func (x *exchange) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if x.decided {
		return protocol.Decision{}, errOrder
	}
	x.decided = true
	x.evaluate()
	decision := x.ruled()
	if x.ruling.Effect == policy.Hold {
		held, err := x.hold(ctx, x.ruling, waiting)
		if err != nil {
			return protocol.Decision{}, fmt.Errorf("hold operation: %w", err)
		}
		if decision = held; x.guard.Policy() != x.policy {
			decision = protocol.Decision{Rule: x.ruling.Rule, Approval: held.Approval, Reason: "the policy changed while it waited: ask again"}
		}
		if order := x.guard.Stopped(); order != nil {
			decision = protocol.Decision{Rule: policy.RuleStopped, Reason: Stopped(order)}
		}
	}
	return x.recorded(decision, x.durable())
}

// DecideNow is Decide for an operation that neither a person nor the disk is
// asked about.
func (x *exchange) DecideNow() (decision protocol.Decision, now bool, err error) {
	if x.decided {
		return protocol.Decision{}, true, errOrder
	}
	x.evaluate()
	if x.ruling.Effect == policy.Hold || x.durable() {
		return protocol.Decision{}, false, nil
	}
	x.decided = true
	decision, err = x.recorded(x.ruled(), false)
	return decision, true, err
}

// evaluate asks policy, once.
func (x *exchange) evaluate() {
	if !x.evaluated {
		x.policy = x.guard.Policy()
		x.ruling, x.evaluated = x.rule(), true
	}
}

// ruled is the decision that policy alone makes.
func (x *exchange) ruled() protocol.Decision {
	decision := protocol.Decision{Rule: x.ruling.Rule, Reason: x.ruling.Reason, TooLarge: x.ruling.TooLarge}
	if x.ruling.Effect == policy.Allow {
		decision.Effect = protocol.Allow
	}
	return decision
}

// durable reports whether the intent has to survive a power loss.
func (x *exchange) durable() bool {
	return x.guard.Strict || !x.op.ReadOnly || x.ruling.Effect == policy.Hold
}

// recorded returns a decision once its intent is in the trail.
func (x *exchange) recorded(decision protocol.Decision, durable bool) (protocol.Decision, error) {
	if err := x.guard.Trail.Intent(x.op, x.intent(decision), durable); err != nil {
		return protocol.Decision{}, fmt.Errorf("record intent: %w", err)
	}
	if decision.Effect == protocol.Allow {
		x.allowed = true
		if limit := x.ruling.Limit; limit != nil {
			decision.Limit = &protocol.RowLimit{Rows: limit.Rows, Rule: limit.Rule, Reason: limit.Reason}
		}
		x.guard.History.allowed(x.op)
		if !x.beforehand && defines(x.op) {
			x.guard.defined.Store(true)
		}
	} else {
		x.guard.denied.Add(1)
	}
	return decision, nil
}

// rule is what policy says, unless a person stopped the session.
func (x *exchange) rule() policy.Ruling {
	if order := x.guard.Stopped(); order != nil {
		return policy.Ruling{Rule: policy.RuleStopped, Reason: Stopped(order)}
	}
	if x.op.Kind == operation.Unread {
		return policy.Ruling{Reason: "where policy is enforced nothing passes unread"}
	}
	return x.policy.Evaluate(x.guard.Session, x.op)
}

// Stopped says in an order's words why nothing goes on; "" without an order.
func Stopped(o *approval.Order) string {
	if o == nil {
		return ""
	}
	reason := o.By + " ordered " + string(o.Kind)
	if o.Reason != "" {
		reason += ": " + o.Reason
	}
	return reason
}

func (x *exchange) intent(decision protocol.Decision) record.Intent {
	in := record.Intent{
		Kind:     string(x.op.Kind),
		Parsed:   x.op.Parsed,
		ReadOnly: x.op.ReadOnly,
		Database: x.op.Context.Database,
		Role:     x.op.Context.Role,
		Effect:   "deny",
		Rule:     decision.Rule,
		Reason:   decision.Reason,
		Policy:   x.policy.Hash(),
		Approval: decision.Approval,
		Decider:  decision.Decider,
	}
	if decision.Effect == protocol.Allow {
		in.Effect = "allow"
	}
	in.Statements, in.SSH, in.Git = record.StatementsOf(x.op.SQL), record.SSHOf(x.op.SSH), record.GitOf(x.op.Git)
	in.Kube, in.HTTP = record.KubeOf(x.op.Kube), record.HTTPOf(x.op.HTTP)
	return in
}

// Record keeps a chunk before it is forwarded.
func (x *exchange) Record(stream protocol.Stream, at time.Duration, chunk []byte) error {
	if !x.decided || x.done {
		return errOrder
	}
	if x.sealed(stream) {
		return x.guard.Trail.SealedChunk(x.op.ID, string(stream), at, chunk)
	}
	return x.guard.Trail.Chunk(x.op.ID, string(stream), at, chunk)
}

// Digested is Record for a stream whose digest the caller has.
func (x *exchange) Digested(stream protocol.Stream, at time.Duration, chunk []byte, sum func() string) error {
	if !x.decided || x.done {
		return errOrder
	}
	if x.sealed(stream) {
		return x.guard.Trail.SealedChunk(x.op.ID, string(stream), at, chunk)
	}
	return x.guard.Trail.Digested(x.op.ID, string(stream), at, chunk, sum)
}

func (x *exchange) sealed(stream protocol.Stream) bool {
	return x.op.SealedRequest && stream == protocol.Request || x.op.SealedResponse && stream == protocol.Response
}

// Done ends the exchange.
func (x *exchange) Done(outcome protocol.Outcome) error {
	if !x.decided || x.done {
		return errOrder
	}
	x.done = true
	return x.guard.Trail.Outcome(x.op.ID, x.outcome(outcome))
}

// Finish keeps the last chunk with the outcome.
func (x *exchange) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if x.op.SealedResponse {
		if err := x.Record(protocol.Response, at, chunk); err != nil {
			return err
		}
		return x.Done(outcome)
	}
	if !x.decided || x.done {
		return errOrder
	}
	x.done = true
	return x.guard.Trail.Finish(x.op.ID, at, chunk, x.outcome(outcome))
}

func (x *exchange) outcome(outcome protocol.Outcome) record.Outcome {
	if outcome.Masked > 0 {
		x.guard.masked.Add(uint64(outcome.Masked))
	}
	denied := x.allowed && outcome.Status == protocol.Refused
	if denied {
		x.guard.denied.Add(1)
	}
	return record.Outcome{
		Status:   string(outcome.Status),
		Code:     outcome.Code,
		Tag:      outcome.Tag,
		Rows:     outcome.Rows,
		Masked:   outcome.Masked,
		Rule:     outcome.Rule,
		Denied:   denied,
		Duration: time.Since(x.began).Nanoseconds(),
	}
}
