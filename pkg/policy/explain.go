package policy

import (
	"fmt"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
)

// Asked is what one rule says of an operation when all rules of its resource
// are asked, also those behind the one that decides.
type Asked struct {
	Rule    string `json:"rule"`
	Effect  string `json:"effect"`
	Answer  string `json:"answer"` // "matches", "does not match", "is not asked", or why it could not be evaluated
	Decides bool   `json:"decides"`
}

// Explain rules on an operation as Evaluate does, and says what each rule
// answers, in the order in which they are asked.
func (p *Policy) Explain(s *session.Session, op *operation.Operation) (Ruling, []Asked) {
	ruling := p.Evaluate(s, op)
	r := p.resources[s.Resource]
	if r == nil {
		return ruling, nil
	}
	blind := !op.Parsed && r.blind(op)
	scope := &scope{session: s, op: op}
	var all []Asked
	for effect := Deny; effect <= Allow; effect++ {
		for _, rule := range r.rules[effect] {
			asked := rule.asked(scope, rule.speaksOf(op, blind))
			asked.Decides = rule.name == ruling.Rule
			all = append(all, asked)
		}
	}
	for _, rule := range r.limits {
		asked := rule.asked(scope, ruling.Effect != Deny || rule.name == ruling.Rule)
		asked.Effect = fmt.Sprintf("deny over %d rows", rule.limit.Rows)
		asked.Decides = rule.name == ruling.Rule || ruling.Limit == rule.limit
		all = append(all, asked)
	}
	return ruling, all
}

// asked is what the rule answers, if it is asked.
func (r *rule) asked(scope *scope, speaks bool) Asked {
	asked := Asked{Rule: r.name, Effect: r.effect.String()}
	switch applies, err := r.when.holds(scope); {
	case !speaks:
		asked.Answer = "is not asked"
	case err != nil:
		asked.Answer = "could not be evaluated: " + explain(err)
	case applies:
		asked.Answer = "matches"
	default:
		asked.Answer = "does not match"
	}
	return asked
}
