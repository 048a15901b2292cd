package policy_test

import (
	"math/rand/v2"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/workload"
)

// TestNeedNeverChangesARuling asks every condition about operations of every
// class and kind, in full and through its need.
func TestNeedNeverChangesARuling(t *testing.T) {
	for _, test := range []struct {
		when     string
		narrowed bool
	}{
		{`op.sql.statements.exists(s, s.class == "ddl")`, true},
		{`op.sql.statements.exists(s, "ddl" == s.class)`, true},
		{`op.sql.statements.exists(s, s.class in ["ddl", "copy"])`, true},
		{`op.sql.statements.exists(s, s.class in ["ddl", orch.name])`, false},
		{`op.sql.statements.exists(s, s.class in [])`, false},
		{`op.sql.statements.exists(s, s.kind == "DROP TABLE" && s.class == "ddl")`, true},
		{`op.sql.statements.exists(s, s.class == "ddl" && s.class == "copy")`, true},
		{`op.sql.statements.exists(s, s.kind == "DROP TABLE" || s.class == "copy")`, false},
		{`op.sql.statements.exists(s, s.class == "ddl" || s.class == "copy")`, true},
		{`op.sql.statements.exists(s, s.class == "ddl" || (s.class == "copy" && s.kind == "COPY"))`, true},
		{`op.sql.statements.exists(s, s.class != "ddl")`, false},
		{`op.sql.statements.exists(s, !(s.class == "ddl"))`, false},
		{`!op.sql.statements.exists(s, s.class == "ddl")`, false},
		{`op.sql.statements.all(s, s.class == "ddl")`, false},
		{`op.sql.statements.exists_one(s, s.class == "ddl")`, false},
		{`op.sql.statements.exists(s, s.class == "ddl") || op.kind == "call"`, false},
		{`op.sql.statements.exists(s, s.class == "ddl") && verified.missing == 1`, true},
		{`verified.missing == 1 && op.sql.statements.exists(s, s.class == "ddl")`, true},
		{`op.sql.statements.exists(s, s.class == "ddl" && verified.missing == 1)`, true},
		{`op.sql.statements.exists(s, s.class == "ddl") ? false : true`, false},
		{`op.sql.statements.filter(s, s.class == "ddl").size() > 1`, false},
		{`op.sql.statements.exists(s, "customers" in s.relations)`, true},
		{`op.sql.statements.exists(s, "public.customers" in s.relations)`, true},
		{`op.sql.statements.exists(s, "app.orders" in s.relations && s.class == "ddl")`, true},
		{`op.sql.statements.exists(s, "public.customers" in s.relations && "orders" in s.relations)`, true},
		{`op.sql.statements.exists(s, "customers" in s.relations || "audit.orders" in s.relations)`, true},
		{`op.sql.statements.exists(s, "customers" in s.relations || s.class == "ddl")`, false},
		{`op.sql.statements.exists(s, !("customers" in s.relations))`, false},
		{`op.sql.statements.exists(s, orch.name in s.relations)`, false},
		{`op.sql.statements.exists(s, s.relations == ["customers"])`, false},
		{`op.sql.statements.exists(s, "" in s.relations)`, true},
		{`["ddl"].exists(s, op.sql.statements.exists(x, x.class == s))`, false},
	} {
		line := "{name: r, effect: deny, when: '" + test.when + "'}"
		narrow, full := rules(t, "allow", line), rules(t, "allow", line).WithoutNeeds()
		if got := narrow.Narrowed(); got != test.narrowed {
			t.Errorf("%s: narrowed is %v, want %v", test.when, got, test.narrowed)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			op := randomOperation(random)
			s := inShop(workload.Workload{Orch: workload.OrchFacts{Name: "copy"}})
			if got, want := narrow.Evaluate(s, op), full.Evaluate(s, op); got != want {
				t.Errorf("%s on %+v: got %+v, want %+v", test.when, op.SQL, got, want)
			}
		}
	}
}

// randomOperation has up to three statements, or is no SQL.
func randomOperation(random *rand.Rand) *operation.Operation {
	kinds := []string{"SELECT", "DROP TABLE", "COPY"}
	classes := []operation.Class{operation.Read, operation.DDL, operation.Copy}
	relations := []string{"customers", "public.customers", "audit.orders", "orders", "shop.app.orders", "", "a."}
	op := sql()
	for range random.IntN(4) {
		op.SQL.Statements = append(op.SQL.Statements, operation.SQLStatement{
			Kind: kinds[random.IntN(3)], Class: classes[random.IntN(3)], Relations: []string{relations[random.IntN(7)], relations[random.IntN(7)]}[:random.IntN(3)],
		})
	}
	if random.IntN(5) == 0 {
		op.Kind, op.SQL = operation.Call, nil
	}
	return op
}

// BenchmarkEvaluateOneRuleInFull is what a rule costs that no need spares.
func BenchmarkEvaluateOneRuleInFull(b *testing.B) {
	p := rules(b, "allow", `{name: r, effect: deny, when: 'op.sql.statements.exists(s, s.functions.exists(f, f == "pg_sleep"))'}`)
	s, op := inShop(workload.Workload{}), sql(selects("customers"))
	b.ReportAllocs()
	for b.Loop() {
		if p.Evaluate(s, op).Effect != policy.Allow {
			b.Fatal("denied")
		}
	}
}
