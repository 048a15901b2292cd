package policy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// shop is a policy's resource without any rule.
const shop = `version: 1
resources:
  - name: shop-db
    protocol: postgres
    hosts: [pg.lab]
    port: 5432
    credentials: [{user: app, password_file: secrets/shop-db}]
`

// parse returns the policy that text is.
func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("shop.yaml", []byte(text))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return p
}

// valid returns a policy of testdata.
func valid(t testing.TB, name string) *policy.Policy {
	t.Helper()
	text, err := os.ReadFile("testdata/valid/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

// sql is an operation that the parser understood.
func sql(statements ...operation.SQLStatement) *operation.Operation {
	return &operation.Operation{
		Kind: operation.Statement, Parsed: true, SQL: &operation.SQL{Statements: statements},
		Context: operation.Context{Database: "shop", Role: "app"},
	}
}

// inShop is a session with the resource shop-db.
func inShop(w workload.Workload) *session.Session {
	return &session.Session{ID: "s1", Resource: "shop-db", Protocol: "postgres", Workload: w}
}

func TestEffectsFollowTheDesign(t *testing.T) {
	p := valid(t, "shop.yaml")
	for _, test := range []struct {
		name   string
		op     *operation.Operation
		effect policy.Effect
		rule   string
	}{
		{"read", sql(operation.SQLStatement{Kind: "SELECT", Class: operation.Read}), policy.Allow, ""},
		{"ddl", sql(operation.SQLStatement{Kind: "ALTER TABLE", Class: operation.DDL}), policy.Hold, "schema-changes-need-a-person"},
		{"second statement", sql(operation.SQLStatement{Kind: "SELECT", Class: operation.Read}, operation.SQLStatement{Kind: "ALTER TABLE", Class: operation.DDL}), policy.Hold, "schema-changes-need-a-person"},
		{"deny beats hold", sql(operation.SQLStatement{Kind: "DROP DATABASE", Class: operation.DDL}), policy.Deny, "never-drop-a-database"},
		{"unparsed", &operation.Operation{Kind: operation.Statement}, policy.Deny, "unparsed"},
		{"connect", &operation.Operation{Kind: operation.Connect, Parsed: true}, policy.Allow, ""},
		{"empty query", sql(), policy.Allow, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := p.Evaluate(inShop(workload.Workload{}), test.op)
			if got.Effect != test.effect || got.Rule != test.rule {
				t.Errorf("got %v by %q, want %v by %q (%s)", got.Effect, got.Rule, test.effect, test.rule, got.Reason)
			}
			if (got.Approve != nil) != (got.Effect == policy.Hold) {
				t.Errorf("effect %v with approval %+v", got.Effect, got.Approve)
			}
		})
	}
}

func TestUnknownResourceIsDenied(t *testing.T) {
	p := parse(t, shop+"default: allow\n")
	got := p.Evaluate(&session.Session{Resource: "other"}, sql())
	if got.Effect != policy.Deny {
		t.Errorf("got %v, want deny", got.Effect)
	}
}

func TestCredentialFollowsIdentity(t *testing.T) {
	p := valid(t, "shop.yaml")
	for kind, user := range map[workload.AgentKind]string{workload.AgentAI: "app_ro", workload.AgentPipeline: "app"} {
		got, err := p.Credential(inShop(workload.Workload{Agent: workload.Agent{Kind: kind}}))
		if err != nil {
			t.Fatal(err)
		}
		if got.User != user || !strings.HasPrefix(got.PasswordFile, "secrets/shop-db") {
			t.Errorf("%s logs in as %+v, want %s", kind, got, user)
		}
	}
}
