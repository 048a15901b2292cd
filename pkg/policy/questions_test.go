package policy

import (
	"github.com/sluicegate/sluice/pkg/config/document"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
)

// RuleNames returns the names of all rules.
func (p *Policy) RuleNames() []string {
	var names []string
	for _, r := range p.order {
		for _, rules := range r.rules {
			for _, rule := range rules {
				names = append(names, rule.name)
			}
		}
	}
	return names
}

// Question is what a case asks.
type Question struct {
	Session   *session.Session
	Operation *operation.Operation
}

// Questions returns what the cases of a file ask that expect an effect; Test
// has found the file in order.
func Questions(name string, data []byte) []Question {
	doc, err := document.Parse(name, data)
	if err != nil {
		return nil
	}
	var f casesFile
	doc.Decode(&f)
	var all []Question
	for _, c := range f.Cases {
		if c.Expect.Effect != "" {
			all = append(all, Question{&session.Session{Resource: c.Resource, Workload: c.Who.workload()}, c.Op.operation()})
		}
	}
	return all
}
