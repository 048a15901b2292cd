package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/workload"
)

func TestExplainSaysWhatEachRuleAnswers(t *testing.T) {
	p := rules(t, "allow",
		`{name: asks, when: '!op.parsed', `+held+`}`,
		`{name: wrong, effect: allow, when: verified.repository == "acme/shop"}`,
		`{name: no-ddl, effect: deny, when: 'op.sql.statements.exists(s, s.class == "ddl")'}`,
		`{name: no-call, effect: deny, when: 'op.kind == "call"'}`)
	ruling, asked := p.Explain(inShop(workload.Workload{}), sql(selects("customers")))
	if ruling.Effect != policy.Deny || ruling.Rule != "wrong" {
		t.Errorf("got %+v", ruling)
	}
	want := []policy.Asked{
		{Rule: "no-ddl", Effect: "deny", Answer: "does not match"},
		{Rule: "no-call", Effect: "deny", Answer: "does not match"},
		{Rule: "asks", Effect: "hold", Answer: "does not match"},
		{Rule: "wrong", Effect: "allow", Answer: "could not be evaluated: it reads a value that is not there; test for it with has() first", Decides: true},
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}
