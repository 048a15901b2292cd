package kubernetes

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"slices"
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

// enveloped is an object of Kubernetes' protobuf: fields of one byte's number
// and length.
func enveloped(object string) string {
	field := func(number byte, text string) string { return string([]byte{number<<3 | 2, byte(len(text))}) + text }
	return "k8s\x00" + field(1, "\x0a\x02v1") + field(2, object) + field(3, "") + field(4, "")
}

func TestBodiesNameWhatIsCreated(t *testing.T) {
	const pods, namespaces = "POST /api/v1/namespaces/shop/pods", "POST /api/v1/namespaces"
	for _, test := range []struct {
		line, contentType, body string
		name, namespace         string
		unclear                 bool
	}{
		{pods, "application/json", `{"metadata":{"name":"web"}}`, "web", "shop", false},
		{pods, "", `{"kind":"Pod","metadata":{"labels":{"name":"x"},"n\u0061me":"web"}}`, "web", "shop", false},
		{pods, "application/json", `{"metadata":{"generateName":"web-"}}`, "", "shop", false},
		{pods, "application/json", `{"metadata":null}`, "", "shop", false},
		{pods, "application/json", `{}`, "", "shop", false},
		{namespaces, "application/json", `{"metadata":{"name":"prod"}}`, "prod", "prod", false},
		{pods, protobufType, enveloped("\x0a\x05\x0a\x03web"), "web", "shop", false},
		{pods, "application/apply-patch+yaml", `{"metadata":{"name":"web"}}`, "web", "shop", false},

		{pods, "application/json", `{"metadata":{"name":"a"},"metadata":{"name":"web"}}`, "", "shop", true},
		{pods, "application/json", `{"metadata":{"name":"a","name":"web"}}`, "", "shop", true},
		{pods, "application/json", `{"metadata":{"name":"a"},"Metadata":{"name":"web"}}`, "", "shop", true},
		{pods, "application/json", `{"metadata":{"NAME":"web"}}`, "", "shop", true},
		{pods, "application/json", `{"metadata":{"name":7}}`, "", "shop", true},
		{pods, "application/json", `{"metadata":["web"]}`, "", "shop", true},
		{pods, "application/json", `[{"metadata":{"name":"web"}}]`, "", "shop", true},
		{pods, "application/json", `{"metadata":{"name":"web"}} x`, "", "shop", true},
		{pods, "application/json", "{\"metadata\":{\"name\":\"w\xffb\"}}", "", "shop", true},
		{pods, "application/json", ``, "", "shop", true},
		{pods, "application/yaml", "metadata:\n  name: web", "", "shop", true},
		{pods, "application/cbor", "\xd9\xd9\xf7\xa0", "", "shop", true},
		{pods, "text/plain", `{"metadata":{"name":"web"}}`, "", "shop", true},
		{pods, protobufType, `{"metadata":{"name":"web"}}`, "", "shop", true},
		{pods, protobufType, enveloped("\x0a\x05\x0a\x03web\x0a\x05\x0a\x03app"), "", "shop", true},
		{pods, protobufType, enveloped("\x0a\x0a\x0a\x03web\x0a\x03app"), "", "shop", true},
		{pods, protobufType, enveloped("\x0a\x05\x0a\x04web"), "", "shop", true},
		{pods, protobufType, "k8s\x00\x12\x80", "", "shop", true},
	} {
		op, err := asked(t, test.line, test.contentType, test.body)
		if err != nil {
			t.Errorf("%q: %v", test.body, err)
			continue
		}
		if op.Kube.Name != test.name && !test.unclear || op.Kube.Namespace != test.namespace || op.Parsed == test.unclear {
			t.Errorf("%s %q: name %q in %q, parsed %t", test.contentType, test.body, op.Kube.Name, op.Kube.Namespace, op.Parsed)
		}
	}
}

func TestDryRunIsWhatTheServerTakesForOne(t *testing.T) {
	const one, all = "DELETE /api/v1/namespaces/shop/pods/web", "DELETE /api/v1/namespaces/shop/pods"
	for _, test := range []struct {
		line, contentType, body string
		dry, unclear, refused   bool
	}{
		{one + "?dryRun=All", "", "", true, false, false},
		{one, "application/json", `{"dryRun":["All"]}`, true, false, false},
		{all + "?dryRun=All", "", `{"dryRun":["All"]}`, true, false, false},
		{one, "application/json", `{"gracePeriodSeconds":0}`, false, false, false},
		{one, protobufType, enveloped("\x2a\x03All"), true, false, false},
		{"PUT /api/v1/namespaces/shop/pods/web?dryRun=All", "", "{}", true, false, false},

		{one + "?dryRun=All", "application/json", `{}`, false, false, true}, // the body decides: it is no dry run
		{all + "?dryRun=All", protobufType, enveloped("\x08\x00"), false, false, true},
		{one, "application/json", `{"dryRun":["All"],"dryRun":[]}`, false, true, false},
		{one, "application/json", `{"dryrun":["All"]}`, false, true, false},
		{one, "application/yaml", "dryRun: [All]", false, true, false},
		{one + "?dryRun=all", "", "", false, false, true},
		{one + "?dryRun=", "", "", false, false, true},
		{"POST /api/v1/namespaces/shop/serviceaccounts/app/token?dryRun=All", "", "{}", false, false, false},
		{"POST /api/v1/namespaces/shop/pods/web/exec?command=id&dryRun=All", "", "", false, false, false},
		{"POST /api/v1/namespaces/shop/services/web/proxy/?dryRun=All", "", "", false, false, false},
	} {
		op, err := asked(t, test.line, test.contentType, test.body)
		switch {
		case (err != nil) != test.refused:
			t.Errorf("%s %q: %v", test.line, test.body, err)
		case err == nil && (op.Kube.DryRun != test.dry || op.Parsed == test.unclear):
			t.Errorf("%s %q: dry %t, parsed %t", test.line, test.body, op.Kube.DryRun, op.Parsed)
		}
	}
}

func TestOnlyWhatTheServerAnswersItselfIsReadOnly(t *testing.T) {
	// Another server answers for metrics and for kubevirt, and who knows what is
	// below an unknown path.
	readOnly := []string{
		"GET /api/v1/namespaces/shop/pods/web", "HEAD /api/v1/pods", "GET /apis/apps/v1/deployments?watch=1",
		"GET /api/v1/namespaces/shop/pods/web/log?follow=true", "GET /version", "OPTIONS /apis",
	}
	for _, line := range append([]string{
		"GET /apis/metrics.k8s.io/v1beta1/nodes", "GET /apis/subresources.kubevirt.io/v1/namespaces/x/vmis/y/vnc",
		"GET /api/v1/namespaces/shop/pods/web/exec?command=rm", "GET /api/v1/namespaces/shop/pods/web/attach",
		"GET /api/v1/namespaces/shop/pods/web/portforward?ports=80", "GET /api/v1/nodes/n/proxy/run/x",
		"HEAD /api/v1/namespaces/shop/services/web/proxy", "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
		"GET /k8s/clusters/c-1/api/v1/secrets", "POST /version",
	}, readOnly...) {
		want := slices.Contains(readOnly, line)
		op, err := asked(t, line, "", "{}")
		if err != nil || op.ReadOnly != want {
			t.Errorf("%s: read only %t, %v", line, op.ReadOnly, err)
		}
	}
}

func TestUnknownPathsAreNotUnderstood(t *testing.T) {
	for _, path := range []string{"/k8s/clusters/c-1/api/v1/secrets", "/v1/secrets", "/ui", "/foo/openapi"} {
		if op, err := asked(t, "GET "+path, "", ""); err != nil || op.Parsed {
			t.Errorf("%s: %v, parsed %t", path, err, op.Parsed)
		}
	}
}

func TestHeadersThatChangeTheRequestAreRefused(t *testing.T) {
	for _, header := range []http.Header{
		{"X-Http-Method-Override": {"DELETE"}},
		{"X-Original-Url": {"/api/v1/secrets"}},
		{"Content-Encoding": {"gzip"}},
		{"Content-Type": {"application/json", "application/yaml"}},
		{"Content-Type": {"application/json-patch+json;;x"}},
		{"Upgrade": {"websocket"}},
	} {
		r, err := http.NewRequest(http.MethodGet, "https://kube.lab/api/v1/pods", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		if _, err := classify(r, nil); err == nil {
			t.Errorf("%v passed", header)
		}
	}
}

func TestKindsAreThoseOfStreamsIntoPods(t *testing.T) {
	for line, want := range map[string]operation.Kind{
		"POST /api/v1/namespaces/shop/pods/web/exec?command=id":      operation.Exec,
		"GET /api/v1/namespaces/shop/pods/web/attach":                operation.Shell,
		"POST /api/v1/namespaces/shop/pods/web/portforward":          operation.Forward,
		"GET /api/v1/namespaces/shop/pods/web/proxy/":                operation.Request,
		"GET /api/v1/namespaces/shop/pods/web/log":                   operation.Request,
		"POST /apis/example.com/v1/namespaces/shop/pods/web/exec":    operation.Request,
		"PATCH /api/v1/namespaces/shop/pods/web/ephemeralcontainers": operation.Request,
	} {
		if op, err := asked(t, line, "", "{}"); err != nil || op.Kind != want {
			t.Errorf("%s: %v, %v", line, op.Kind, err)
		}
	}
}

// FuzzClassify reads requests twice: as they are, and as they are written anew
// from what was read.
func FuzzClassify(f *testing.F) {
	for _, seed := range []struct{ line, contentType, body string }{
		{"GET /api/v1/namespaces/shop/pods/web?watch=1", "", ""},
		{"POST /api/v1/namespaces/shop/pods", "application/json", `{"metadata":{"name":"web"}}`},
		{"POST /api/v1/namespaces/shop/pods", protobufType, enveloped("\x0a\x05\x0a\x03web")},
		{"DELETE /api/v1/namespaces/shop/pods?dryRun=All", "application/json", `{"dryRun":["All"]}`},
		{"GET /api/v1/namespaces/shop/services/https:web:443/proxy/a%20b/?x=y", "", ""},
		{"GET /api/v1/watch/secrets?fieldSelector=metadata.name%3Ddb", "", ""},
		{"GET /api/v1/%73ecrets/..%2f", "a;b", "x"},
	} {
		f.Add(seed.line, seed.contentType, seed.body)
	}
	f.Fuzz(func(t *testing.T, line, contentType, body string) {
		op, err := asked(t, line, contentType, body)
		if err != nil {
			return
		}
		rewritten := op.HTTP.Method + " " + (&url.URL{Path: op.HTTP.Path, RawQuery: op.HTTP.Query}).RequestURI()
		again, err := asked(t, rewritten, contentType, body)
		if err != nil {
			t.Fatalf("%q became %q: %v", line, rewritten, err)
		}
		if diff := cmp.Diff(op.Kube, again.Kube); diff != "" || op.Parsed != again.Parsed || op.Kind != again.Kind || op.ReadOnly != again.ReadOnly {
			t.Errorf("%q became %q:\n%s", line, rewritten, diff)
		}
		if !bytes.HasPrefix(op.Bytes, []byte(line)) || !bytes.HasSuffix(op.Bytes, []byte(body)) {
			t.Errorf("%q with %q is approved as %q", line, body, op.Bytes)
		}
	})
}
