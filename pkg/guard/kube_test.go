package guard_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
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
