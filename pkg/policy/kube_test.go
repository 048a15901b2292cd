package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/workload"
)

// cluster is an operation of which every field has a value of its own.
func cluster() *operation.Operation {
	return &operation.Operation{
		Kind: operation.Exec, Parsed: true,
		Kube: &operation.Kube{
			Verb: "create", Group: "g", Version: "v", Resource: "r", Subresource: "s", Namespace: "ns", Name: "n",
			Command: []string{"sh", "-c"}, Container: "c", DryRun: true,
		},
		HTTP: &operation.HTTP{Method: "POST", Host: "h", Path: "/p", Query: "q=1", Body: operation.Text("b")},
	}
}

func TestEveryWordOfAClusterIsRead(t *testing.T) {
	for _, when := range []string{
		`op.kube.verb == "create"`, `op.kube.group == "g"`, `op.kube.version == "v"`, `op.kube.resource == "r"`, `op.kube.subresource == "s"`,
		`op.kube.namespace == "ns"`, `op.kube.name == "n"`, `op.kube.command == ["sh", "-c"]`, `op.kube.container == "c"`, `op.kube.dry_run`,
		`op.http.method == "POST"`, `op.http.host == "h"`, `op.http.path == "/p"`, `op.http.query == "q=1"`, `op.http.body == "b"`,
		`has(op.kube) && has(op.http) && has(op.kube.command) && !has(op.git)`,
	} {
		p := rules(t, "allow", `{name: r, effect: deny, when: '`+when+`'}`)
		if got := p.Evaluate(inShop(workload.Workload{}), cluster()); got.Effect != policy.Deny {
			t.Errorf("%s: got %v", when, got.Effect)
		}
		if got := p.Evaluate(inShop(workload.Workload{}), push(operation.Certainly)); got.Effect != policy.Allow {
			t.Errorf("%s of a push: got %v", when, got.Effect)
		}
	}
}

func TestWhatIsNotUnderstoodOfAClusterIsDeniedWhereARuleReadsIt(t *testing.T) {
	unclear := cluster()
	unclear.Parsed = false
	for _, test := range []struct {
		rule   string
		want   policy.Effect
		byRule string
	}{
		{`{name: r, effect: deny, when: 'op.kube.name == "other"'}`, policy.Deny, policy.RuleUnparsed},
		{`{name: r, effect: deny, when: 'op.http.body == "other"'}`, policy.Deny, policy.RuleUnparsed},
		{`{name: r, effect: allow, when: 'op.kube.verb == "create"'}`, policy.Deny, policy.RuleUnparsed},
		{`{name: r, when: '!op.parsed && op.kube.verb == "create"', ` + held + `}`, policy.Hold, "r"},
		{`{name: r, effect: deny, when: 'op.git.refs.size() == 9'}`, policy.Allow, ""},
	} {
		p := rules(t, "allow", test.rule)
		if got := p.Evaluate(inShop(workload.Workload{}), unclear); got.Effect != test.want || got.Rule != test.byRule {
			t.Errorf("%s: got %v by %q", test.rule, got.Effect, got.Rule)
		}
	}
}

func TestAllowOnAClusterSaysNothingOfOtherThings(t *testing.T) {
	p := rules(t, "deny", `{name: r, effect: allow, when: 'op.kube.subresource == ""'}`)
	if got := p.Evaluate(inShop(workload.Workload{}), push(operation.CertainlyNot)); got.Effect != policy.Deny {
		t.Errorf("got %v", got.Effect)
	}
}

const twoWorlds = `version: 1
resources:
  - {name: shop-db, protocol: postgres, hosts: [pg.lab], port: 5432, credentials: [{user: a, password_file: p}]}
  - {name: shop-kube, protocol: kubernetes, hosts: [kube.lab], port: 6443, credentials: [{user: a, password_file: p}]}
masks:
  - {name: pii, columns: [public.c.email], method: redact}
  - {name: objects, kinds: [Secret, TokenRequest], method: hash}
  - {name: anywhere, detect: [jwt], method: redact}
default: allow
`

func TestKindsAreMaskedInClustersOnly(t *testing.T) {
	p, err := policy.Parse("p.yaml", []byte(twoWorlds))
	if err != nil {
		t.Fatal(err)
	}
	jwt := []mask.Detection{{Detector: mask.JWT, Mask: "anywhere", Method: mask.Redact}}
	want := &mask.Set{Detect: jwt, Kinds: []mask.Kind{{Kind: "Secret", Mask: "objects", Method: mask.Hash}, {Kind: "TokenRequest", Mask: "objects", Method: mask.Hash}}}
	if diff := cmp.Diff(want, p.Masks("shop-kube")); diff != "" {
		t.Errorf("shop-kube (-want +got):\n%s", diff)
	}
	want = &mask.Set{Detect: jwt, Columns: []mask.Column{{Schema: "public", Table: "c", Column: "email", Mask: "pii", Method: mask.Redact}}}
	if diff := cmp.Diff(want, p.Masks("shop-db")); diff != "" {
		t.Errorf("shop-db (-want +got):\n%s", diff)
	}
}

func TestMasksOfKindsNeedNothingUnderstood(t *testing.T) {
	p, err := policy.Parse("p.yaml", []byte(twoWorlds))
	if err != nil {
		t.Fatal(err)
	}
	unclear := cluster()
	unclear.Parsed = false
	s := inShop(workload.Workload{})
	s.Resource = "shop-kube"
	if got := p.Evaluate(s, unclear); got.Effect != policy.Allow {
		t.Errorf("got %v by %q", got.Effect, got.Rule)
	}
}
