package policy_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/workload"
)

const writes = `when: 'op.sql.statements.exists(s, s.class == "write")'`

func TestLeastLimitOfTheMatchingRulesHolds(t *testing.T) {
	p := rules(t, "allow",
		`{name: a-thousand, effect: deny, over_rows: 1000, `+writes+`}`,
		`{name: ten-orders, effect: deny, over_rows: 10, reason: Ask., when: 'op.sql.statements.exists(s, "orders" in s.relations)'}`,
		`{name: asks, when: 'op.sql.statements.exists(s, s.kind == "MERGE")', `+held+`}`,
		`{name: never, effect: deny, when: 'op.sql.statements.exists(s, s.kind == "DELETE")'}`)
	write := func(kind, relation string) operation.SQLStatement {
		return operation.SQLStatement{Kind: kind, Class: operation.Write, Relations: []string{relation}}
	}
	for _, test := range []struct {
		statement operation.SQLStatement
		rows      int64
		effect    policy.Effect
		rule      string
	}{
		{write("UPDATE", "items"), 1000, policy.Allow, ""},
		{write("UPDATE", "items"), 1001, policy.Deny, "a-thousand"},
		{write("UPDATE", "orders"), 10, policy.Allow, ""},
		{write("UPDATE", "orders"), 11, policy.Deny, "ten-orders"},
		{write("MERGE", "orders"), 10, policy.Hold, "asks"},
		{write("MERGE", "orders"), 11, policy.Deny, "ten-orders"},
		{write("DELETE", "orders"), 0, policy.Deny, "never"},
		{selects("items"), 100000, policy.Allow, ""},
	} {
		got := p.Evaluate(inShop(workload.Workload{}), sql(test.statement)).Changed(test.rows)
		if got.Effect != test.effect || got.Rule != test.rule {
			t.Errorf("%+v of %d rows: got %v by %q", test.statement, test.rows, got.Effect, got.Rule)
		}
	}
	if !p.ReadsSQL("shop-db") {
		t.Error("what cannot be understood has no limit")
	}
	unknown := &operation.Operation{Kind: operation.Statement}
	if got := p.Evaluate(inShop(workload.Workload{}), unknown); got.Effect != policy.Deny {
		t.Errorf("what nobody understood: %+v", got)
	}
}

func TestExplainNamesTheLimit(t *testing.T) {
	p := rules(t, "allow", `{name: few, effect: deny, over_rows: 5, `+writes+`}`)
	_, asked := p.Explain(inShop(workload.Workload{}), sql(operation.SQLStatement{Kind: "UPDATE", Class: operation.Write}))
	if want := (policy.Asked{Rule: "few", Effect: "deny over 5 rows", Answer: "matches", Decides: true}); len(asked) != 1 || asked[0] != want {
		t.Errorf("got %+v", asked)
	}
}
