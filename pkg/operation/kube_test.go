package operation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
)

func TestSummaryOfAClusterReadsAsPeopleSayIt(t *testing.T) {
	for want, k := range map[string]operation.Kube{
		"get":                       {Verb: "get"},
		"list secrets":              {Verb: "list", Version: "v1", Resource: "secrets"},
		"delete pods/web-1 in shop": {Verb: "delete", Version: "v1", Resource: "pods", Namespace: "shop", Name: "web-1"},
		"delete namespaces/shop":    {Verb: "delete", Resource: "namespaces", Namespace: "shop", Name: "shop"},
		"patch deployments.apps/web/scale in shop, as a dry run":          {Verb: "patch", Group: "apps", Resource: "deployments", Subresource: "scale", Namespace: "shop", Name: "web", DryRun: true},
		"create pods/web-1/exec in shop, container app: psql -c SELECT 1": {Verb: "create", Resource: "pods", Subresource: "exec", Namespace: "shop", Name: "web-1", Container: "app", Command: []string{"psql", "-c", "SELECT 1"}},
	} {
		if got := k.Summary(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnOperationOfAClusterPrintsNothingOfIt(t *testing.T) {
	op := operation.Operation{
		ID: 7, Kind: operation.Request, Kube: &operation.Kube{Name: "secret-name", Command: []string{"secret-name"}},
		HTTP: &operation.HTTP{Path: "/secret-name", Query: "secret-name", Body: operation.Text("secret-name")},
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, op); strings.Contains(got, "secret-name") {
			t.Errorf("%s prints %q", format, got)
		}
	}
}
