package policy

import (
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
			asked := Asked{Rule: rule.name, Effect: effect.String(), Decides: rule.name == ruling.Rule}
			switch applies, err := rule.when.holds(scope); {
			case !rule.speaksOf(op, blind):
				asked.Answer = "is not asked"
			case err != nil:
				asked.Answer = "could not be evaluated: " + explain(err)
			case applies:
				asked.Answer = "matches"
			default:
				asked.Answer = "does not match"
			}
			all = append(all, asked)
		}
	}
	return ruling, all
}
