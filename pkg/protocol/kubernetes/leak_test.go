package kubernetes

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/testenv/kubernetes"
)

// masked serves a cluster whose Secrets are masked, with some in it.
func masked(t *testing.T, namespace string) *through {
	t.Helper()
	w := serve(t, func(conn *protocol.Conn) {
		conn.Masks = masking(mask.Redact, "Secret", "TokenRequest").conn.Masks
	})
	admin := apiserver(t).Admin
	if err := admin.CreateNamespace(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"db", "other"} {
		var o kubernetes.Object
		if err := json.Unmarshal([]byte(secret(isSecret)), &o); err != nil {
			t.Fatal(err)
		}
		o["metadata"].(map[string]any)["name"] = name
		if err := admin.Create(t.Context(), namespace, "secrets", o); err != nil {
			t.Fatal(err)
		}
	}
	holds := kubernetes.Object{"metadata": kubernetes.Object{"name": "manifests"}, "data": kubernetes.Object{"secret.json": secret(isSecret)}}
	if err := admin.Create(t.Context(), namespace, "configmaps", holds); err != nil {
		t.Fatal(err)
	}
	return w
}

// call sends one request as a job would, and returns the answer.
func (w *through) call(t *testing.T, method, path, contentType, accept, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+w.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header["Accept"] = []string{accept}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}, ForceAttemptHTTP2: len(path)%2 == 0} // both versions
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer.StatusCode, string(text)
}

// TestNoFormOfAskingTellsASecret reads and writes Secrets in every form that a
// real API server answers in. Nothing of them may come back, or be recorded.
func TestNoFormOfAskingTellsASecret(t *testing.T) {
	w := masked(t, "leaks")
	const all, one = "/api/v1/namespaces/leaks/secrets", "/api/v1/namespaces/leaks/secrets/db"
	accepts := []string{
		"application/json", protobufType, "application/json;as=Table;v=v1;g=meta.k8s.io", "", "*/*", "application/yaml", "application/cbor",
		"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
		"application/yaml;as=Table;v=v1;g=meta.k8s.io,application/yaml", protobufType + ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,*/*;q=0.1",
	}
	for _, path := range []string{
		one, all, "/api/v1/secrets", one + "?pretty=true", all + "?limit=1", all + "?includeObject=Object", all + "?includeObject=None", all + "?fieldSelector=metadata.name%3Ddb",
		all + "?watch=1&timeoutSeconds=1", all + "?watch=true&includeObject=Object&timeoutSeconds=1", "/api/v1/watch/namespaces/leaks/secrets?timeoutSeconds=1",
		"/api/v1/watch/namespaces/leaks/secrets/db?timeoutSeconds=1", "/api/v1/namespaces/leaks/configmaps/manifests", "/api/v1/configmaps",
		all + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1",
	} {
		for i, accept := range accepts {
			if i >= 3 && strings.Contains(path, "timeoutSeconds") {
				continue // each takes its second
			}
			if status, text := w.call(t, http.MethodGet, path, "", accept, ""); leaks([]byte(text)) != "" || status == http.StatusOK && text == "" {
				t.Errorf("GET %s as %q: %d leaks %q: %s", path, accept, status, leaks([]byte(text)), text)
			}
		}
	}
	named := func(name string) string {
		return strings.Replace(secret(isSecret), `"name":"db"`, `"name":"`+name+`"`, 1)
	}
	for _, test := range []struct{ method, path, contentType, body string }{
		{http.MethodPost, all, "application/json", named("made")},
		{http.MethodPost, all + "?dryRun=All", "application/json", named("tried")},
		{http.MethodPut, one, "application/json", secret(isSecret)},
		{http.MethodPatch, one, "application/merge-patch+json", `{"metadata":{"labels":{"a":"b"}}}`},
		{http.MethodPatch, one, "application/strategic-merge-patch+json", `{"stringData":{"r":"` + canary + `"}}`},
		{http.MethodPatch, one, "application/json-patch+json", `[{"op":"add","path":"/data/s","value":"` + inBase64 + `"}]`},
		{http.MethodPatch, one, "application/json-patch+json", `[{"op":"copy","from":"/data/p","path":"/metadata/labels/stolen"}]`},
		{http.MethodPatch, one, "application/json-patch+json", `[{"op":"test","path":"/data/p","value":"` + inBase64 + `"}]`},
		{http.MethodPatch, "/api/v1/namespaces/leaks/secrets/applied?fieldManager=ci", "application/apply-patch+yaml", named("applied")},
		{http.MethodPatch, "/api/v1/namespaces/leaks/secrets/applied?fieldManager=other", "application/apply-patch+yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: applied}\nstringData: {p: other-" + canary + "}\n"},
		// What the server says of a change that it cannot make may repeat the object.
		{http.MethodPatch, one, "application/json-patch+json", `[{"op":"add","path":"/data/bad","value":"no base64!"}]`},
		{http.MethodPatch, one, "application/json-patch+json", `[{"op":"replace","path":"/data/p/deep","value":"eA=="}]`},
		{http.MethodPatch, one, "application/json-patch+json", `[{"op":"remove","path":"/data/none"}]`},
		{http.MethodPatch, one, "application/merge-patch+json", `{"data":{"bad":5}}`},
		{http.MethodPatch, one, "application/merge-patch+json", `{"data":"bad"}`},
		{http.MethodPatch, one, "application/strategic-merge-patch+json", `{"data":{"$patch":"copy"},"type":"changed"}`},
		{http.MethodPatch, one, "application/merge-patch+json", `{"immutable":"maybe","metadata":{"name":"renamed"}}`},
		{http.MethodPut, one, "application/json", `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db","resourceVersion":"1"},"data":{"p":"eA=="}}`},
		{http.MethodDelete, "/api/v1/namespaces/leaks/secrets/made", "", ""},
		{http.MethodDelete, all + "?dryRun=All", "", ""},
	} {
		for _, accept := range accepts {
			if status, text := w.call(t, test.method, test.path, test.contentType, accept, test.body); leaks([]byte(text)) != "" {
				t.Errorf("%s %s as %q: %d leaks %q: %s", test.method, test.path, accept, status, leaks([]byte(text)), text)
			}
		}
	}
	status, text := w.call(t, http.MethodPost, "/api/v1/namespaces/leaks/serviceaccounts/default/token", "application/json", "", `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{}}`)
	if status != http.StatusCreated || strings.Contains(text, "eyJhbGci") || !strings.Contains(text, `"token":"[redacted]"`) {
		t.Errorf("a token: %d %s", status, text)
	}
	for _, e := range w.journal.Requests() {
		everything := e.Text
		for _, stream := range e.Streams {
			everything += stream
		}
		if found := leaks([]byte(everything)); found != "" || strings.Contains(everything, "eyJhbGci") {
			t.Errorf("recorded of %.200s: %q", e.Text, found)
		}
	}
}

// TestObjectsOfOtherKindsAreHiddenWhateverShowsThem has a kind of its own, of
// which a table shows what is hidden, and another one that holds a Secret.
func TestObjectsOfOtherKindsAreHiddenWhateverShowsThem(t *testing.T) {
	w := serve(t, func(conn *protocol.Conn) {
		conn.Masks = masking(mask.Redact, "Secret", "Widget").conn.Masks
	})
	admin := apiserver(t).Admin
	for kind, column := range map[string]string{"Widget": ".spec.password", "Holder": ".metadata.name"} {
		plural := strings.ToLower(kind) + "s"
		definition := fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%s.example.com"},"spec":{"group":"example.com","scope":"Cluster",
			"names":{"plural":%q,"singular":%q,"kind":%q,"listKind":%q},"versions":[{"name":"v1","served":true,"storage":true,
			"additionalPrinterColumns":[{"name":"Shown","type":"string","jsonPath":%q}],"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`,
			plural, plural, strings.ToLower(kind), kind, kind+"List", column)
		object := fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":%q,"metadata":{"name":"w"},"spec":{"password":%q}}`, kind, canary)
		if kind == "Holder" {
			object = fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Holder","metadata":{"name":"w"},"spec":{"template":%s}}`, secret(isSecret))
		}
		var o kubernetes.Object
		if err := json.Unmarshal([]byte(definition), &o); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Call(t.Context(), http.MethodPost, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", o); err != nil {
			t.Fatal(err)
		}
		var one kubernetes.Object
		if err := json.Unmarshal([]byte(object), &one); err != nil {
			t.Fatal(err)
		}
		err := kubernetes.Until(t.Context(), 20*time.Second, func() (bool, error) {
			_, err := admin.Call(t.Context(), http.MethodPost, "/apis/example.com/v1/"+plural, one)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil // it is not served yet
			}
			return err == nil, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"get", "widgets"},
		{"get", "widgets", "-o", "yaml"},
		{"get", "widget", "w", "-o", "jsonpath={.spec}"},
		{"describe", "widget", "w"},
		{"get", "widgets", "-o", "wide"},
		{"get", "holders"},
		{"get", "holders", "-o", "json"},
		{"get", "holder", "w", "-o", "jsonpath={.spec.template.data}"},
		{"describe", "holders"},
		{"api-resources", "--api-group=example.com"},
		{"patch", "widget", "w", "--type=merge", "-p", `{"metadata":{"labels":{"a":"b"}}}`, "-o", "yaml"},
	} {
		out, said, err := w.kubectl(t, "", args...)
		if found := leaks([]byte(out + said)); err != nil || found != "" || out == "" {
			t.Errorf("kubectl %v: %v leaks %q: %s%s", args, err, found, out, said)
		}
	}
	_, said, err := w.kubectl(t, "", "patch", "widget", "w", "--type=json", "-p", `[{"op":"copy","from":"/spec/password","path":"/metadata/labels/stolen"}]`)
	if err == nil || !strings.Contains(said, "copies, moves or tests") {
		t.Errorf("%v %s", err, said)
	}
}

func stored(t *testing.T, namespace, name string) map[string]string {
	t.Helper()
	o, err := apiserver(t).Admin.Call(t.Context(), http.MethodGet, "/api/v1/namespaces/"+namespace+"/secrets/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for key, value := range o["data"].(map[string]any) {
		plain, err := base64.StdEncoding.DecodeString(value.(string))
		if err != nil {
			t.Fatal(err)
		}
		values[key] = string(plain)
	}
	return values
}

// TestKubectlWorksWithMaskedSecrets does what people do with Secrets.
func TestKubectlWorksWithMaskedSecrets(t *testing.T) {
	w := masked(t, "work")
	for _, args := range [][]string{
		{"get", "secrets"},
		{"get", "secret", "db", "-o", "yaml"},
		{"get", "secrets", "-o", "json"},
		{"get", "secret", "db", "-o", "jsonpath={.data}"},
		{"describe", "secret", "db"},
		{"get", "secrets", "-o", "wide", "--show-labels"},
		{"get", "secret,configmap", "-o", "yaml"},
		{"get", "secret", "db", "-o", "go-template={{range $k, $v := .data}}{{$v | base64decode}}{{end}}"},
		{"get", "secrets", "-w", "--request-timeout=1s", "-o", "json"},
		{"get", "secret", "db", "-v=9"},
		{"annotate", "secret", "db", "note=seen", "-o", "yaml"},
	} {
		out, said, err := w.kubectl(t, "", append([]string{"-n", "work"}, args...)...)
		if found := leaks([]byte(out + said)); found != "" || err != nil && !strings.Contains(strings.Join(args, " "), "-w") || out == "" {
			t.Errorf("kubectl %v: %v leaks %q: %s%s", args, err, found, out, said)
		}
	}
	manifest := func(value string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {a: " + value + ", b: kept}\n"
	}
	for _, value := range []string{"first", "second"} {
		if out, said, err := w.kubectl(t, manifest(value), "-n", "work", "apply", "-f", "-"); err != nil {
			t.Errorf("apply: %v: %s%s", err, out, said)
		}
		if got := stored(t, "work", "mine"); got["a"] != value || got["b"] != "kept" {
			t.Errorf("stored %v", got)
		}
	}
	if out, said, err := w.kubectl(t, manifest("third"), "-n", "work", "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil || stored(t, "work", "mine")["a"] != "third" {
		t.Errorf("server-side apply: %v: %s%s", err, out, said)
	}
	read, said, err := w.kubectl(t, "", "-n", "work", "get", "secret", "mine", "-o", "yaml")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if _, said, err = w.kubectl(t, read, "-n", "work", "replace", "-f", "-"); err == nil || !strings.Contains(said, "would write what a mask put there") {
		t.Errorf("a masked Secret was written back: %v %s", err, said)
	}
	if got := stored(t, "work", "mine"); got["a"] != "third" {
		t.Errorf("stored %v", got)
	}
	if !bytes.Contains([]byte(read), []byte(base64.StdEncoding.EncodeToString([]byte("[redacted]")))) {
		t.Errorf("read %s", read)
	}
	if out, said, err := w.kubectl(t, "", "-n", "work", "delete", "secret", "mine"); err != nil {
		t.Errorf("delete: %v: %s%s", err, out, said)
	}
}
