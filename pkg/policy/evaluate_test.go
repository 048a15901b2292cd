package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/workload"
)

// rules returns the policy that shop and these lines are.
func rules(t testing.TB, fallback string, lines ...string) *policy.Policy {
	t.Helper()
	text := shop + "rules:\n"
	for _, line := range lines {
		text += "  - " + line + "\n"
	}
	return parse(t, text+"default: "+fallback+"\n")
}

// selects is a SELECT from these relations.
func selects(relations ...string) operation.SQLStatement {
	return operation.SQLStatement{Kind: "SELECT", Class: operation.Read, Relations: relations}
}

func TestOrderInTheFileCannotWeaken(t *testing.T) {
	lines := []string{
		"{name: a, effect: allow}",
		"{name: h, effect: hold, approve: {groups: [dba], timeout: 1m}}",
		"{name: d, effect: deny}",
	}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		p := rules(t, "allow", lines[order[0]], lines[order[1]], lines[order[2]])
		if got := p.Evaluate(inShop(workload.Workload{}), sql()); got.Effect != policy.Deny || got.Rule != "d" {
			t.Errorf("order %v: got %v by %q, want deny by d", order, got.Effect, got.Rule)
		}
	}
	p := rules(t, "deny", lines[0], lines[1])
	if got := p.Evaluate(inShop(workload.Workload{}), sql()); got.Effect != policy.Hold || got.Rule != "h" {
		t.Errorf("got %v by %q, want hold by h", got.Effect, got.Rule)
	}
}

func TestRuleThatCannotBeEvaluatedDeniesInItsName(t *testing.T) {
	for _, effect := range []string{"allow", "deny", "hold, approve: {groups: [dba], timeout: 1m}"} {
		p := rules(t, "allow", `{name: needs-claim, when: verified.repository == "acme/shop", effect: `+effect+`}`)
		got := p.Evaluate(inShop(workload.Workload{}), sql())
		if got.Effect != policy.Deny || got.Rule != "needs-claim" {
			t.Errorf("%s: got %v by %q, want deny by needs-claim", effect, got.Effect, got.Rule)
		}
		got = p.Evaluate(inShop(workload.Workload{Verified: map[string]any{"repository": "acme/other"}}), sql())
		if got.Effect != policy.Allow {
			t.Errorf("%s: with another claim: got %v (%s), want allow", effect, got.Effect, got.Reason)
		}
	}
}

func TestReasonNeverRepeatsWhatTheJobWrote(t *testing.T) {
	const secret = "hunter2"
	p := rules(t, "allow", `{name: r, effect: deny, when: 'verified[op.sql.statements[0].columns[0]] == "x" || op.sql.statements.exists(s, orch.labels[s.functions[0]] == "y")'}`)
	op := sql(operation.SQLStatement{Kind: "SELECT", Class: operation.Read, Columns: []string{secret}, Functions: []string{secret}})
	got := p.Evaluate(inShop(workload.Workload{}), op)
	if got.Effect != policy.Deny || strings.Contains(got.Reason, secret) {
		t.Errorf("got %+v", got)
	}
}

func TestAllowThatReadsSQLSaysNothingOfOtherOperations(t *testing.T) {
	p := rules(t, "deny", `{name: reads, effect: allow, when: 'op.sql.statements.all(s, s.class == "read")'}`)
	for _, kind := range []operation.Kind{operation.Connect, operation.Call, operation.CopyIn, operation.Cancel} {
		op := &operation.Operation{Kind: kind, Parsed: true}
		if got := p.Evaluate(inShop(workload.Workload{}), op); got.Effect != policy.Deny {
			t.Errorf("%s is allowed by a rule about statements", kind)
		}
	}
	if got := p.Evaluate(inShop(workload.Workload{}), sql(selects("customers"))); got.Effect != policy.Allow {
		t.Errorf("a read got %v (%s), want allow", got.Effect, got.Reason)
	}
}

func TestDenyAboutOtherOperationsMayAlsoReadSQL(t *testing.T) {
	p := rules(t, "allow", `{name: no-calls, effect: deny, when: 'op.kind == "call" || op.sql.statements.exists(s, s.class == "procedural")'}`)
	op := &operation.Operation{Kind: operation.Call, Parsed: true}
	if got := p.Evaluate(inShop(workload.Workload{}), op); got.Effect != policy.Deny {
		t.Errorf("got %v, want deny", got.Effect)
	}
}

func TestRelationsAnswerToEveryName(t *testing.T) {
	for _, test := range []struct {
		written, path, asked string
		want                 bool
	}{
		{"customers", "", "customers", true},
		{"customers", "", "public.customers", true},
		{"customers", "", "app.customers", true}, // "$user" for the role app
		{"customers", `"$user", public`, "app.customers", true},
		{"customers", `evil, "Odd ""one"""`, `Odd "one".customers`, true},
		{"customers", `"a,public", b`, "a,public.customers", true},
		{"customers", `"a,public", b`, "public.customers", false},
		{"customers", "evil", "public.customers", false},
		{"public.customers", "", "customers", true},
		{"public.customers", "", "public.customers", true},
		{"audit.customers", "", "public.customers", false},
		{"shop.public.customers", "", "customers", true},
		{"customers2", "", "customers", false},
	} {
		p := rules(t, "allow", fmt.Sprintf(`{name: r, effect: deny, when: 'op.sql.statements.exists(s, %q in s.relations)'}`, test.asked))
		op := sql(selects(test.written))
		op.Context.SearchPath = test.path
		if got := p.Evaluate(inShop(workload.Workload{}), op).Effect == policy.Deny; got != test.want {
			t.Errorf("%q in relations of %q with path %q: got %v, want %v", test.asked, test.written, test.path, got, test.want)
		}
	}
}

func TestEndlessStatementListIsDeniedNotEvaluated(t *testing.T) {
	p := rules(t, "allow", `{name: pairs, effect: deny, when: 'op.sql.statements.exists(a, op.sql.statements.exists(b, a.kind == b.kind + "x"))'}`)
	many := make([]operation.SQLStatement, 20_000)
	got := p.Evaluate(inShop(workload.Workload{}), sql(many...))
	if got.Effect != policy.Deny || !strings.Contains(got.Reason, "too large") {
		t.Errorf("got %+v, want a deny for its size", got)
	}
}

func TestUnparsedIsDeniedOnlyWhereItMatters(t *testing.T) {
	unparsed := &operation.Operation{Kind: operation.Statement}
	for _, test := range []struct {
		when   string
		effect policy.Effect
		reads  bool
	}{
		{`op.sql.statements.exists(s, s.class == "ddl")`, policy.Deny, true},
		{`has(op.sql)`, policy.Deny, true},
		{`op.read_only`, policy.Deny, true},
		{`!op.parsed`, policy.Hold, true},
		{`assurance < 1`, policy.Hold, false},
	} {
		p := rules(t, "allow", "{name: r, effect: hold, approve: {groups: [dba], timeout: 1m}, when: '"+test.when+"'}")
		if got := p.Evaluate(inShop(workload.Workload{}), unparsed); got.Effect != test.effect {
			t.Errorf("%s: got %v (%s), want %v", test.when, got.Effect, got.Reason, test.effect)
		}
		if got := p.ReadsSQL("shop-db"); got != test.reads {
			t.Errorf("%s: ReadsSQL is %v, want %v", test.when, got, test.reads)
		}
	}
	masked := parse(t, shop+"masks: [{name: m, columns: [public.customers.email], method: null}]\ndefault: allow\n")
	if got := masked.Evaluate(inShop(workload.Workload{}), unparsed); got.Effect != policy.Deny {
		t.Errorf("with a mask: got %v, want deny", got.Effect)
	}
	if got := masked.Masks("other"); got == nil || !got.Empty() {
		t.Errorf("masks of an unknown resource: %+v", got)
	}
}

func TestEveryWordCanBeRead(t *testing.T) {
	w := workload.Workload{
		Assurance: workload.Verified,
		Kernel:    workload.KernelFacts{CgroupPath: "/a", Container: "c", Exe: "/bin/psql", UID: 1000},
		Orch:      workload.OrchFacts{Source: "docker", Name: "job", Labels: map[string]string{"team": "shop"}, Taints: []string{"privileged"}},
		Verified:  map[string]any{"sub": "repo:acme/shop", "nested": map[string]any{"uid": "u"}},
		Claimed:   workload.Claims{Command: []string{"psql"}, Env: map[string]string{"CI": "true"}},
		Agent:     workload.Agent{Kind: workload.AgentAI, Product: "p", Evidence: []string{"e"}},
	}
	op := sql(operation.SQLStatement{Kind: "UPDATE", Class: operation.Write, Columns: []string{"email"}, Functions: []string{"now"}, HasWhere: true})
	op.ReadOnly, op.Context.InTransaction = true, true
	for _, when := range []string{
		`op.kind == "statement" && op.parsed && op.read_only && op.context.in_transaction`,
		`op.context.database == "shop" && op.context.role == "app" && has(op.sql)`,
		`op.sql.statements[0].has_where && "email" in op.sql.statements[0].columns && "now" in op.sql.statements[0].functions`,
		`session.id == "s1" && session.resource == "shop-db" && session.protocol == "postgres" && session.destination != ""`,
		`kernel.cgroup_path == "/a" && kernel.container == "c" && kernel.exe.endsWith("psql") && kernel.uid == 1000`,
		`orch.source == "docker" && orch.name.startsWith("job") && orch.labels.team == "shop" && "privileged" in orch.taints`,
		`!has(orch.pod) && orch.container == "" && orch.image == "" && orch.namespace == "" && has(kernel.exe)`,
		`verified.sub == "repo:acme/shop" && verified.nested.uid == "u" && !has(verified.other)`,
		`claimed.command == ["psql"] && claimed.env.CI == "true" && !has(claimed.env.X)`,
		`agent.kind == "ai" && agent.product == "p" && agent.evidence.size() == 1 && assurance >= 3`,
	} {
		p := rules(t, "allow", "{name: r, effect: deny, when: '"+when+"'}")
		if got := p.Evaluate(inShop(w), op); got.Effect != policy.Deny || got.Reason != "" {
			t.Errorf("%s: got %v %q, want true", when, got.Effect, got.Reason)
		}
	}
}

func TestRulesApplyToTheirResourcesOnly(t *testing.T) {
	p := parse(t, `version: 1
resources:
  - {name: shop-db, protocol: postgres, hosts: [pg.lab], port: 5432, credentials: [{user: a, password_file: p}]}
  - {name: other-db, protocol: postgres, hosts: [pg.lab], port: 5433, credentials: [{user: a, password_file: p}]}
rules: [{name: r, resources: [other-db], effect: deny}]
default: allow
`)
	s := inShop(workload.Workload{})
	if got := p.Evaluate(s, sql()); got.Effect != policy.Allow {
		t.Errorf("shop-db: got %v, want allow", got.Effect)
	}
	s.Resource = "other-db"
	if got := p.Evaluate(s, sql()); got.Effect != policy.Deny {
		t.Errorf("other-db: got %v, want deny", got.Effect)
	}
}

func TestConditionalCredentialsAloneCanLeaveNone(t *testing.T) {
	text := strings.Replace(shop, "{user: app,", `{when: "verified.sub == 'x'", user: app,`, 1) + "default: allow\n"
	p := parse(t, text)
	if _, err := p.Credential(inShop(workload.Workload{Verified: map[string]any{"sub": "y"}})); err == nil {
		t.Error("a session that fits no credential got one")
	}
	if _, err := p.Credential(inShop(workload.Workload{})); err == nil {
		t.Error("a session whose credential cannot be chosen got one")
	}
}

func BenchmarkEvaluateFiftyRules(b *testing.B) {
	lines := make([]string, 50)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{name: r%d, effect: deny, when: 'op.sql.statements.exists(s, s.class == "ddl" && "t%d" in s.relations)'}`, i, i)
	}
	p := rules(b, "allow", lines...)
	s, op := inShop(workload.Workload{}), sql(selects("customers"))
	b.ReportAllocs()
	for b.Loop() {
		if p.Evaluate(s, op).Effect != policy.Allow {
			b.Fatal("denied")
		}
	}
}
