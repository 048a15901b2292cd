package guard_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/workload"
)

func TestApproverReadsWhatIsAskedOfACluster(t *testing.T) {
	const line = "POST /api/v1/namespaces/prod/pods/web/exec?"
	for text, want := range map[string]string{
		line + "command=psql&command=-c&command=SELECT+1":                 "create pods/web/exec in prod: psql -c SELECT 1",
		line + "[sealed hmac-sha256:0123456789abcdef 20 bytes]":           "create pods/web/exec in prod",
		line + "command=a%1B%5B2Jb\nContent-Type: application/json\n\n{}": "create pods/web/exec in prod: a\\u{001B}[2Jb",
	} {
		b := newBench(t, verified())
		b.under(t, `op.sql.statements.exists(s, s.class == "ddl")`, `op.kube.subresource == "exec"`)
		request, _ := b.held(t, &operation.Operation{
			Kind: operation.Exec, Parsed: true, Text: operation.Text(text), Bytes: []byte(text),
			Kube: &operation.Kube{Verb: "create", Version: "v1", Resource: "pods", Subresource: "exec", Namespace: "prod", Name: "web", Command: []string{"echo", "a-secret"}},
			HTTP: &operation.HTTP{Method: "POST", Path: "/api/v1/namespaces/prod/pods/web/exec"},
		})
		if request.Asks != want || strings.Contains(request.Text, "a-secret") {
			t.Errorf("%q: asks %q, want %q", text, request.Asks, want)
		}
	}
}

func TestHistoryOfAClusterIsByWhatIsDone(t *testing.T) {
	b := newBench(t, verified())
	b.under(t, `op.sql.statements.exists(s, s.class == "ddl")`, `op.kube.namespace == "prod"`)
	b.with(func(cfg *guard.Config) { cfg.History, _ = new(guard.Histories).Of(&workload.Workload{}) })
	deletes := func(namespace, name string) *operation.Operation {
		return &operation.Operation{Kind: operation.Request, Parsed: true, Kube: &operation.Kube{Verb: "delete", Resource: "pods", Namespace: namespace, Name: name}}
	}
	if _, err := b.decide(t, t.Context(), deletes("shop", "web")); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		before := b.asked(t, deletes("prod", "web-"+string(rune('0'+i)))).Before
		if before == nil || before.Same != uint64(i) || (len(before.First) > 0) != (i == 0) {
			t.Errorf("after %d: %+v", i, before)
		}
	}
}
