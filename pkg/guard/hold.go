package guard

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
)

// numberSoon is how long the client is not told that it waits while the
// collector has not numbered the approval: a message without a number helps
// nobody, and the number usually comes within milliseconds.
const numberSoon = time.Second

// inTransaction is how long people have while a transaction is open at the
// server: what it has locked, everybody else waits for.
const inTransaction = time.Minute

// hurried shortens a hold inside of a transaction, and tells the client and the
// approver.
func (x *exchange) hurried(r policy.Ruling) policy.Ruling {
	if !x.op.Context.InTransaction {
		return r
	}
	approve := *r.Approve
	approve.Timeout = min(approve.Timeout, inTransaction)
	r.Approve = &approve
	r.Reason = strings.TrimSpace(r.Reason + " A transaction is open and keeps what it has locked, so that this waits at most " +
		approve.Timeout.String() + "; what is held before BEGIN can wait longer.")
	return r
}

// hold asks people and waits. Every step is in the trail before it has an
// effect: the request before anybody is asked, a vote before it counts, the
// settlement before the decision.
func (x *exchange) hold(ctx context.Context, ruling policy.Ruling, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	ruling = x.hurried(ruling)
	refused := protocol.Decision{Rule: ruling.Rule}
	if x.guard.Desk == nil {
		refused.Reason = "it needs an approval, and this agent has no roster of approvers"
		return refused, nil
	}
	if x.op.Context.Unknown {
		refused.Reason = "it needs an approval, and as which role it would run could not be read"
		return refused, nil
	}
	if x.op.HTTP != nil && x.op.HTTP.Streamed {
		refused.Reason = "it needs an approval, which is for all that is sent, and this body is too large to be held"
		refused.TooLarge = true
		return refused, nil
	}
	release, ok := x.guard.Hold()
	if !ok {
		refused.Reason = "it needs an approval, and this workload has too many operations waiting for one"
		return refused, nil
	}
	defer release()

	request := x.request(ruling)
	if request.Trigger == nil && request.FourEyes == approval.Enforced {
		refused.Reason = "it needs an approval by somebody else than who started the job, and no verified claim says who did"
		return refused, nil
	}
	key := grantKey(&request)
	if grant, ok := x.guard.Desk.Recall(key, time.Now()); ok {
		return granted(ruling, request.Scope, grant), nil
	}
	if decision, ok, err := x.reviewed(ruling, &request); ok || err != nil {
		return decision, err
	}
	if token, signed := x.guard.Desk.BreakGlass(&request, time.Now()); token != nil {
		return x.brokenGlass(ruling, token, signed)
	}
	request.Reach, request.Before = x.reach(ctx), x.before()
	step := record.Approval{ID: request.ID, Rule: ruling.Rule, State: string(approval.Pending)}
	settlement, err := x.guard.Desk.Ask(ctx, request, approval.Witness{
		Requested: func(signed []byte) error { return x.guard.Trail.Approval(x.op.ID, step, signed, true) },
		Waiting: func(p approval.Progress) {
			if p.Number == 0 && p.Elapsed < numberSoon {
				return
			}
			waiting(protocol.Waiting{
				Approval: p.Number, Rule: ruling.Rule, Reason: ruling.Reason,
				Link: x.guard.Link, Elapsed: p.Elapsed, Deadline: p.Deadline,
			})
		},
		Voted: func(vote approval.Vote, signed []byte) error {
			voted := step
			voted.Approver, voted.Reason = vote.Approver, vote.Reason
			return x.guard.Trail.Approval(x.op.ID, voted, signed, true)
		},
	})
	if err != nil {
		return protocol.Decision{}, err
	}
	step.State, step.Number, step.Reason = string(settlement.State), settlement.Number, settlement.Reason
	step.Approver = strings.Join(settlement.Deciders, ", ")
	if err := x.guard.Trail.Approval(x.op.ID, step, nil, true); err != nil {
		return protocol.Decision{}, err
	}
	x.guard.Desk.Remember(key, request, settlement, time.Now())
	return settled(ruling, settlement), nil
}

// brokenGlass is the decision that a break-glass token made, once it is in the
// trail.
func (x *exchange) brokenGlass(ruling policy.Ruling, token *approval.BreakGlass, signed []byte) (protocol.Decision, error) {
	who := strings.Join(token.People, ", ")
	used := record.Approval{ID: token.ID, Rule: token.Rule, State: record.BrokenGlass, Approver: who, Reason: token.Reason}
	if err := x.guard.Trail.Approval(x.op.ID, used, signed, true); err != nil {
		return protocol.Decision{}, err
	}
	return protocol.Decision{
		Effect: protocol.Allow, Rule: ruling.Rule, Decider: who,
		Reason: "break-glass by " + who + " while the collector is away: " + token.Reason,
	}, nil
}

// grantKey is what a yes of the request's scope is remembered under. A yes of
// one policy is none under another. The action binds values, resource, requester and policy; who triggered the job stands
// beside it, because four eyes were theirs and the approver's.
func grantKey(r *approval.Request) string {
	if r.Scope == approval.SessionScope {
		return "session " + r.Session + " " + r.Policy + " " + r.Rule
	}
	trigger := approval.Account{}
	if r.Trigger != nil {
		trigger = *r.Trigger
	}
	return fmt.Sprintf("action %s %s %q %q", r.Action, r.Rule, trigger.Issuer, trigger.Subject)
}

// granted is the decision that an earlier yes made.
func granted(ruling policy.Ruling, scope approval.Scope, g approval.Grant) protocol.Decision {
	who := strings.Join(g.Deciders, ", ")
	return protocol.Decision{
		Effect: protocol.Allow, Rule: ruling.Rule, Approval: g.Number, Decider: who,
		Reason: fmt.Sprintf("approval #%d by %s is for this %s", g.Number, who, scope),
	}
}

// scope is how far a yes may reach: as the rule says, but not to texts whose
// meaning lies elsewhere.
func (x *exchange) scope(ruling policy.Ruling) approval.Scope {
	if x.op.SQL != nil {
		for _, s := range x.op.SQL.Statements {
			if s.Opaque || s.Class == operation.Procedural {
				return approval.Once
			}
		}
	}
	if !x.op.Parsed {
		return approval.Once
	}
	return approval.Scope(ruling.Approve.Scope)
}

// request is the question about this operation.
func (x *exchange) request(ruling policy.Ruling) approval.Request {
	s := x.guard.Session
	now := time.Now()
	request := approval.Request{
		ID:        approval.NewID(),
		Agent:     x.guard.Agent,
		Cluster:   x.guard.Cluster,
		Session:   s.ID,
		Operation: x.op.ID,
		Resource:  s.Resource,
		Where:     approval.Where{Database: x.op.Context.Database, Role: x.op.Context.Role, SearchPath: x.op.Context.SearchPath},
		Requester: approval.RequesterOf(s.Workload),
		Trigger:   approval.TriggerOf(s.Workload),
		FourEyes:  approval.Enforced,
		Text:      x.rendering(),
		Rule:      ruling.Rule,
		Reason:    ruling.Reason,
		Required:  approval.Required{Groups: ruling.Approve.Groups, Votes: ruling.Approve.Votes, OwnKey: ruling.Approve.OwnKey},
		Scope:     x.scope(ruling),
		Policy:    x.policy.Hash(),
		Created:   now,
		NotAfter:  now.Add(ruling.Approve.Timeout),
	}
	if request.Trigger == nil && ruling.Approve.TriggerUnknownOK {
		request.FourEyes = approval.Waived
	}
	if x.op.Kube != nil { // by the text, in which what must not be kept is sealed
		request.Asks = record.KubeOf(x.op.Kube).Operation(x.op.Text).Summary()
	}
	request.Action = approval.ActionHash(x.op, s.Resource, principal(request.Requester), request.Policy)
	return request
}

// rendering is the operation as an approver reads it: the text, then each
// bound value, sealed as it is recorded. The action's hash binds what is not
// shown.
func (x *exchange) rendering() string {
	op := x.op
	var text strings.Builder
	text.Write(op.Text.Reveal())
	for i, param := range op.Params {
		switch {
		case param.Null:
			fmt.Fprintf(&text, "\n$%d = NULL", i+1)
		case param.Sealed:
			fmt.Fprintf(&text, "\n$%d = %s", i+1, x.guard.Trail.Seal(nil, param.Text.Reveal()))
		case param.Binary:
			fmt.Fprintf(&text, "\n$%d = \\x%x", i+1, param.Text.Reveal())
		default:
			fmt.Fprintf(&text, "\n$%d = %q", i+1, param.Text.Reveal())
		}
	}
	return text.String()
}

// principal names who asks, as firmly as it is known.
func principal(r approval.Requester) string {
	if r.Account.Subject != "" {
		return r.Account.Issuer + " " + r.Account.Subject
	}
	return r.Container
}

// settled turns the end of an approval into a decision.
func settled(ruling policy.Ruling, s approval.Settlement) protocol.Decision {
	decision := protocol.Decision{
		Rule:     ruling.Rule,
		Reason:   s.Reason,
		Approval: s.Number,
		Decider:  strings.Join(s.Deciders, ", "),
	}
	switch s.State {
	case approval.Approved:
		decision.Effect = protocol.Allow
	case approval.Expired:
		decision.Reason = "nobody decided within " + ruling.Approve.Timeout.String()
	case approval.Withdrawn:
		decision.Reason = "the client withdrew it"
	}
	return decision
}
