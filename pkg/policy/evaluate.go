package policy

import (
	"errors"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
)

// Effect is what policy says of an operation. The zero value is Deny.
type Effect int

// The effects, strongest first.
const (
	Deny Effect = iota
	Hold
	Allow
)

// String returns the effect as a policy writes it.
func (e Effect) String() string {
	switch e {
	case Hold:
		return "hold"
	case Allow:
		return "allow"
	default:
		return "deny"
	}
}

// RuleUnparsed is the name in a ruling that denies what nobody could
// understand where a rule or a mask depends on understanding it.
const RuleUnparsed = "unparsed"

// RuleStopped is the name in a decision that denies because a person ordered
// the session, its workload or its run to be stopped. No rule can have it.
const RuleStopped = "stopped"

// Ruling is what policy says of one operation. The zero value denies.
type Ruling struct {
	Effect   Effect
	Rule     string   // the deciding rule's name; empty for the default
	Reason   string   // for the person at the client; never holds what a job wrote; may be empty
	Approve  *Approve // who can release it; set exactly when Effect is Hold; shared
	Limit    *Limit   // what it may change, when Effect is not Deny; nil: anything; shared
	TooLarge bool     // it is denied because a rule depends on its body, which operation.HTTP says is Streamed
}

// Limit is how many rows an operation may change. It is known only afterwards:
// who forwards the operation counts, and undoes what is more. It refuses what
// it cannot count or undo.
type Limit struct {
	Rows   int64
	Rule   string
	Reason string
}

// Changed is what a ruling comes to when the operation has changed so many rows.
func (r Ruling) Changed(rows int64) Ruling {
	if r.Limit == nil || rows <= r.Limit.Rows {
		return r
	}
	return Ruling{Rule: r.Limit.Rule, Reason: r.Limit.Reason}
}

// Evaluate rules on one operation of a session. Every deny rule is asked
// before every hold rule, and those before the allow rules; within an effect
// the first match in the file's order decides. A rule that cannot be
// evaluated denies in its own name.
func (p *Policy) Evaluate(s *session.Session, op *operation.Operation) Ruling {
	r := p.resources[s.Resource]
	if r == nil {
		return Ruling{Reason: "the policy does not know this resource"}
	}
	if !op.Parsed && r.hides(op) {
		return unparsed
	}
	blind := !op.Parsed && r.blind(op)
	scope := &scope{session: s, op: op}
	for effect := Deny; effect <= Allow; effect++ {
		for _, rule := range r.rules[effect] {
			if !rule.speaksOf(op, blind) {
				continue
			}
			applies, err := rule.when.holds(scope)
			if err != nil {
				return rule.fails(err)
			}
			if applies {
				return r.limited(scope, Ruling{Effect: effect, Rule: rule.name, Reason: rule.reason, Approve: rule.approve})
			}
		}
	}
	switch {
	case blind:
		return unparsed
	case p.fallback != Allow:
		return Ruling{Reason: "no rule allows it"}
	}
	return r.limited(scope, Ruling{Effect: Allow})
}

// limited adds to a ruling the least that a rule lets the operation change.
func (r *resource) limited(scope *scope, ruling Ruling) Ruling {
	if ruling.Effect == Deny {
		return ruling
	}
	for _, rule := range r.limits {
		applies, err := rule.when.holds(scope)
		if err != nil {
			return rule.fails(err)
		}
		if applies && (ruling.Limit == nil || rule.limit.Rows < ruling.Limit.Rows) {
			ruling.Limit = rule.limit
		}
	}
	return ruling
}

// fails is the ruling of a rule that cannot be evaluated.
func (r *rule) fails(err error) Ruling {
	return Ruling{Rule: r.name, Reason: "the rule could not be evaluated: " + explain(err), TooLarge: errors.Is(err, errStreamed)}
}

// unparsed is the ruling on what nobody understood.
var unparsed = Ruling{Rule: RuleUnparsed, Reason: "the operation could not be understood, and a rule or a mask depends on what it does"}

// speaksOf reports whether a rule is asked about an operation. An allow says
// nothing of operations that lack what it reads. Of one that was not
// understood where understanding counts, a hold is asked only when it reads
// op.parsed, so that its author chose a person's look at the text instead of a
// refusal; and no allow is.
func (r *rule) speaksOf(op *operation.Operation, blind bool) bool {
	switch {
	case r.effect == Allow && blind:
		return false
	case r.effect == Hold && blind:
		return r.when != nil && r.when.reads.parsed
	case r.effect == Allow && r.when != nil:
		return r.when.reads.details&^detailsOf(op) == 0
	}
	return true
}

// explain says why an evaluation failed without repeating the values that the
// rule was reading, which a job may have written.
func explain(err error) string {
	switch text := err.Error(); {
	case errors.Is(err, errStreamed):
		return "it depends on the body, which is too large to be held"
	case strings.Contains(text, "no such key"):
		return "it reads a value that is not there; test for it with has() first"
	case strings.Contains(text, "cost limit"):
		return "the operation is too large for it"
	default:
		return "it does not fit this operation"
	}
}
