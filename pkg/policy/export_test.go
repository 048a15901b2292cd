package policy

// WithoutNeeds makes every condition be evaluated in full, to compare.
func (p *Policy) WithoutNeeds() *Policy {
	for _, r := range p.order {
		for _, rules := range r.rules {
			for _, rule := range rules {
				if rule.when != nil {
					rule.when.need = nil
				}
			}
		}
	}
	return p
}

// Narrowed reports whether the first deny rule has a need.
func (p *Policy) Narrowed() bool { return p.order[0].rules[Deny][0].when.need != nil }
