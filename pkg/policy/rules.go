package policy

import (
	"fmt"
	"slices"
	"time"
)

// Approve says who can release a held operation.
type Approve struct {
	Groups  []string      // an approver is in at least one of them
	Votes   int           // that many different approvers
	Timeout time.Duration // then the operation is denied
	Scope   string        // the widest that a vote may have: "once", "session" or "shape"

	// TriggerUnknownOK accepts an approver although nobody knows who triggered
	// the job, so that four eyes cannot be proven.
	TriggerUnknownOK bool
	// OwnKey demands votes signed with the approver's own key.
	OwnKey bool
}

// maxHold bounds how long a rule can hold an operation: a connection, and the
// server's locks, wait with it.
const maxHold = 24 * time.Hour

// rule is one compiled rule. A nil condition always applies.
type rule struct {
	name    string
	effect  Effect
	when    *condition
	approve *Approve
	limit   *Limit // of a rule that denies only what changes more
	reason  string
}

// reserved are names that rulings use for themselves.
var reserved = []string{RuleUnparsed, RuleStopped, "default"}

// rules compiles the rules into the resources that they apply to.
func (c *compiler) rules(p *Policy, clauses []ruleClause) {
	names := map[string]bool{}
	for i := range clauses {
		clause := &clauses[i]
		path := fmt.Sprintf("rules[%d]", i)
		c.unique(path, "rule", clause.Name, names[clause.Name])
		if slices.Contains(reserved, clause.Name) {
			c.doc.Problem(path+".name", "%q is what Sluice calls its own rulings: choose a different one", clause.Name)
		}
		names[clause.Name] = true
		compiled := c.rule(path, clause)
		for _, r := range c.selected(path, p, clause.Resources) {
			if compiled.limit != nil {
				r.limits = append(r.limits, compiled)
			} else {
				r.rules[compiled.effect] = append(r.rules[compiled.effect], compiled)
			}
			if compiled.when != nil {
				r.reads |= compiled.when.reads.details
				r.readsReadOnly = r.readsReadOnly || compiled.when.reads.readOnly
				r.readsParsed = r.readsParsed || compiled.when.reads.parsed
			}
		}
	}
}

// rule compiles one rule.
func (c *compiler) rule(path string, clause *ruleClause) *rule {
	r := &rule{name: clause.Name, effect: c.effect(path+".effect", clause.Effect), reason: clause.Reason}
	if clause.When != "" {
		r.when = c.condition(path+".when", clause.When)
	}
	if r.effect == Allow && r.when != nil && r.when.reads.unproven != "" {
		c.doc.Problem(path+".when", "reads %s, which rests on what the job says about itself: an allow can read kernel, orch, verified, assurance, session and op only", r.when.reads.unproven)
	}
	switch {
	case r.effect == Hold && clause.Approve == nil:
		c.doc.Problem(path+".approve", "is missing: say who can approve, as in {groups: [dba], votes: 1, timeout: 10m}")
	case r.effect == Hold:
		r.approve = c.approve(path+".approve", clause.Approve)
	case clause.Approve != nil:
		c.doc.Problem(path+".approve", "has no use here: only effect: hold asks for approval")
	}
	if clause.OverRows != nil {
		r.limit = c.limit(path, r, *clause.OverRows)
	}
	return r
}

// limit compiles how many rows an operation may change. What has no statements
// has no rows either that anybody could count.
func (c *compiler) limit(path string, r *rule, rows int64) *Limit {
	switch {
	case r.effect != Deny:
		c.doc.Problem(path+".over_rows", "has no use here: only effect: deny can undo what a statement did")
	case rows < 1:
		c.doc.Problem(path+".over_rows", "%d is out of range: write how many rows may be changed, 1 or more", rows)
	case r.when == nil || r.when.reads.details&sqlDetail == 0:
		c.doc.Problem(path+".when", "does not read op.sql: say which statements over_rows counts, as in op.sql.statements.exists(s, s.class == \"write\")")
	}
	return &Limit{Rows: rows, Rule: r.name, Reason: r.reason}
}

// effect reads a rule's effect.
func (c *compiler) effect(path, text string) Effect {
	switch text {
	case "allow":
		return Allow
	case "hold":
		return Hold
	case "deny":
		return Deny
	case "":
		c.doc.Problem(path, "is missing: write allow, hold or deny")
	default:
		c.doc.Problem(path, "%q is not an effect: write allow, hold or deny", text)
	}
	return Deny
}

// approve compiles who can release a held operation.
func (c *compiler) approve(path string, clause *approveClause) *Approve {
	a := &Approve{Groups: clause.Groups, Votes: 1}
	if len(a.Groups) == 0 {
		c.doc.Problem(path+".groups", "is missing: list the groups whose members can approve")
	}
	for i, group := range a.Groups {
		if group == "" {
			c.doc.Problem(fmt.Sprintf("%s.groups[%d]", path, i), "is empty: write a group's name")
		}
	}
	if clause.Votes != nil {
		a.Votes = *clause.Votes
	}
	if a.Votes < 1 || a.Votes > 100 {
		c.doc.Problem(path+".votes", "%d is out of range: write how many different people must approve, 1 or more", a.Votes)
	}
	a.Timeout = c.timeout(path+".timeout", clause.Timeout)
	a.Scope = clause.Scope
	switch clause.Scope {
	case "":
		a.Scope = "once"
	case "once", "session", "shape":
	default:
		c.doc.Problem(path+".scope", "%q is not a scope: write once, session or shape", clause.Scope)
	}
	a.TriggerUnknownOK = c.flag(path+".trigger", clause.Trigger, "unknown-ok")
	a.OwnKey = c.flag(path+".key", clause.Key, "own")
	return a
}

// timeout reads how long a rule holds.
func (c *compiler) timeout(path, text string) time.Duration {
	if text == "" {
		c.doc.Problem(path, "is missing: write how long to wait before the operation is denied, as in 10m")
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		c.doc.Problem(path, "%q is not a duration: write one as in 90s or 10m", text)
		return 0
	}
	if d < time.Second || d > maxHold {
		c.doc.Problem(path, "%s is out of range: write between 1s and 24h", text)
	}
	return d
}

// flag reads a key that has one value besides being left out.
func (c *compiler) flag(path, text, value string) bool {
	if text != "" && text != value {
		c.doc.Problem(path, "%q is not supported: write %s or leave the key out", text, value)
	}
	return text == value
}
