package policy_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/workload"
)

const held = `effect: hold, approve: {groups: [dba], timeout: 1m}`

func push(forced operation.Certainty) *operation.Operation {
	return &operation.Operation{Kind: operation.Push, Parsed: true, Git: &operation.Git{
		Refs: []operation.GitRef{{Name: "refs/heads/main", Kind: operation.RefUpdate, Forced: forced}},
	}}
}

func TestUnknownCountsAsForcedUnlessARuleNamesIt(t *testing.T) {
	for _, test := range []struct {
		when   string
		forced operation.Certainty
		want   policy.Effect
	}{
		{`op.git.refs.exists(r, r.forced == "true")`, operation.Certainly, policy.Deny},
		{`op.git.refs.exists(r, r.forced == "true")`, operation.Uncertain, policy.Deny},
		{`op.git.refs.exists(r, r.forced == "true")`, "", policy.Deny},
		{`op.git.refs.exists(r, r.forced == "true")`, operation.CertainlyNot, policy.Allow},
		{`op.git.refs.exists(r, r.forced != "false")`, operation.Uncertain, policy.Deny},
		{`op.git.refs.exists(r, r.forced == "unknown")`, operation.Uncertain, policy.Deny},
		{`op.git.refs.exists(r, r.forced == "unknown")`, operation.Certainly, policy.Allow},
		{`op.git.refs.exists(r, r.forced == "true" || r.forced == "unknown" && r.kind == "delete")`, operation.Uncertain, policy.Allow},
	} {
		p := rules(t, "allow", `{name: r, effect: deny, when: '`+test.when+`'}`)
		if got := p.Evaluate(inShop(workload.Workload{}), push(test.forced)); got.Effect != test.want {
			t.Errorf("%s of %q: got %v, want %v", test.when, test.forced, got.Effect, test.want)
		}
	}
}

func TestRulesSeeTheSameForceOneAfterTheOther(t *testing.T) {
	p := rules(t, "allow",
		`{name: knows, effect: deny, when: 'op.git.refs.exists(r, r.forced == "unknown" && r.kind == "create")'}`,
		`{name: does-not, effect: deny, when: 'op.git.refs.exists(r, r.forced == "true")'}`)
	if got := p.Evaluate(inShop(workload.Workload{}), push(operation.Uncertain)); got.Rule != "does-not" {
		t.Errorf("got %v by %q", got.Effect, got.Rule)
	}
}

func TestUnclearCommandIsDeniedWhereARuleReadsCommands(t *testing.T) {
	unclear := &operation.Operation{Kind: operation.Exec, SSH: &operation.SSH{Type: operation.SSHExec}}
	for _, test := range []struct {
		name   string
		rules  []string
		want   policy.Effect
		byRule string
	}{
		{"nothing reads it", []string{`{name: r, effect: deny, when: 'op.kind == "cancel"'}`}, policy.Allow, ""},
		{"a rule on SQL", []string{`{name: r, effect: deny, when: 'op.sql.statements.exists(s, s.class == "ddl")'}`}, policy.Allow, ""},
		{"a rule on programs", []string{`{name: r, effect: deny, when: '"rm" in op.ssh.programs'}`}, policy.Deny, policy.RuleUnparsed},
		{"an allow on programs", []string{`{name: r, effect: allow, when: 'op.ssh.programs.all(p, p == "ls")'}`}, policy.Deny, policy.RuleUnparsed},
		{
			"a hold that does not say that it judges the text",
			[]string{`{name: r, when: '"rm" in op.ssh.programs || op.kind == "exec"', ` + held + `}`},
			policy.Deny, policy.RuleUnparsed,
		},
		{
			"a hold for what is unclear",
			[]string{`{name: r, effect: deny, when: '"rm" in op.ssh.programs'}`, `{name: ask, when: '!op.parsed', ` + held + `}`},
			policy.Hold, "ask",
		},
		{
			"a deny that matches all the same",
			[]string{`{name: r, effect: deny, when: 'op.kind == "exec"'}`, `{name: ask, when: '!op.parsed && op.ssh.type == "exec"', ` + held + `}`},
			policy.Deny, "r",
		},
	} {
		p := rules(t, "allow", test.rules...)
		if got := p.Evaluate(inShop(workload.Workload{}), unclear); got.Effect != test.want || got.Rule != test.byRule {
			t.Errorf("%s: got %v by %q, want %v by %q", test.name, got.Effect, got.Rule, test.want, test.byRule)
		}
	}
}
