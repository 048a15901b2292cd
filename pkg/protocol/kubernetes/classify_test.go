package kubernetes

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/operation"
)

// asked classifies what a client would write: a request line, and behind empty
// lines headers and a body.
func asked(t testing.TB, line, contentType, body string) (operation.Operation, error) {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: kube.lab:6443\r\n\r\n")))
	if err != nil {
		return operation.Operation{}, err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return classify(r, []byte(body))
}

func TestRequestsReadAsKubernetesReadsThem(t *testing.T) {
	for _, test := range []struct {
		line string
		want operation.Kube
	}{
		{"GET /api/v1/namespaces/shop/pods/web-1", operation.Kube{Verb: "get", Version: "v1", Resource: "pods", Namespace: "shop", Name: "web-1"}},
		{"GET /api/v1/pods", operation.Kube{Verb: "list", Version: "v1", Resource: "pods"}},
		{"GET /api/v1/pods?watch=1", operation.Kube{Verb: "watch", Version: "v1", Resource: "pods"}},
		{"GET /api/v1/pods?watch", operation.Kube{Verb: "watch", Version: "v1", Resource: "pods"}},
		{"GET /api/v1/pods?watch=False", operation.Kube{Verb: "list", Version: "v1", Resource: "pods"}},
		{"GET /api/v1/watch/namespaces/shop/secrets", operation.Kube{Verb: "watch", Version: "v1", Resource: "secrets", Namespace: "shop"}},
		{"GET /api/v1/namespaces/shop/secrets?fieldSelector=metadata.name%3Ddb", operation.Kube{Verb: "list", Version: "v1", Resource: "secrets", Namespace: "shop", Name: "db"}},
		{"DELETE /api/v1/namespaces/shop", operation.Kube{Verb: "delete", Version: "v1", Resource: "namespaces", Namespace: "shop", Name: "shop"}},
		{"PUT /api/v1/namespaces/shop/finalize", operation.Kube{Verb: "update", Version: "v1", Resource: "namespaces", Subresource: "finalize", Namespace: "shop", Name: "shop"}},
		{"DELETE /apis/apps/v1/namespaces/shop/deployments?dryRun=All", operation.Kube{Verb: "deletecollection", Group: "apps", Version: "v1", Resource: "deployments", Namespace: "shop", DryRun: true}},
		{"PATCH /apis/apps/v1/namespaces/shop/deployments/web/scale", operation.Kube{Verb: "patch", Group: "apps", Version: "v1", Resource: "deployments", Subresource: "scale", Namespace: "shop", Name: "web"}},
		{"GET /api/v1/namespaces/shop/pods/web/exec?command=sh&command=-c&command=id+-u&container=app&dryRun=All", operation.Kube{Verb: "create", Version: "v1", Resource: "pods", Subresource: "exec", Namespace: "shop", Name: "web", Command: []string{"sh", "-c", "id -u"}, Container: "app"}},
		{"GET /api/v1/namespaces/shop/services/https:web:443/proxy/a/b", operation.Kube{Verb: "create", Version: "v1", Resource: "services", Subresource: "proxy", Namespace: "shop", Name: "web"}},
		{"GET /api/v1/nodes/node-1/proxy/", operation.Kube{Verb: "create", Version: "v1", Resource: "nodes", Subresource: "proxy", Name: "node-1"}},
		{"GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system:node%20x", operation.Kube{Verb: "get", Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles", Name: "system:node x"}},
		{"GET /version", operation.Kube{Verb: "get"}},
	} {
		op, err := asked(t, test.line, "", "")
		if err != nil || !op.Parsed {
			t.Errorf("%s: %v, parsed %t", test.line, err, op.Parsed)
			continue
		}
		if diff := cmp.Diff(&test.want, op.Kube); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.line, diff)
		}
	}
}
