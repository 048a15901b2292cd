package kubernetes

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/testenv/kubernetes"
)

// An admission policy's words may quote any object, also where the request is
// about none that is masked; a webhook's the object that the request is about.
func TestWordsThatMayQuoteAnObjectAreHidden(t *testing.T) {
	pods := operation.Kube{Verb: "create", Resource: "pods"}
	for _, test := range []struct {
		about    *operation.Kube
		document string
	}{
		{&aboutSecrets, `{"kind":"Status","message":"secrets \"db\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: %s","reason":"Forbidden"}`},
		{&pods, `{"kind":"Status","message":"pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: %s","reason":"Forbidden","details":{"causes":[{"message":"ValidatingAdmissionPolicy 'p' denied request: '%s'"}]}}`},
		{&pods, `{"kind":"Status","message":"ValidatingAdmission\u0050olicy 'p' denied request: %s","reason":"Invalid"}`},
		{&pods, `{"kind":"Event","message":"Error creating: MutatingAdmissionPolicy 'p' with binding 'b' denied request: %s"}`},
		{&pods, `{"kind":"Event","note":"Error creating: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: %s"}`},
		{&pods, `{"kind":"Deployment","status":{"conditions":[{"message":"pods is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b: %s"}]}}`},
		{&aboutSecrets, `{"kind":"Status","message":"admission webhook \"w\" denied the request: %s","reason":"Forbidden"}`},
		{&aboutSecrets, `{"kind":"Status","message":"admission webhook \"w\" denied the request: %s","reason":"NotFound"}`},
	} {
		said := strings.ReplaceAll(test.document, "%s", canary)
		out, masked, err := masking(mask.Redact, "Secret").document(test.about)([]byte(said))
		if err != nil || masked == 0 || leaks(out) != "" {
			t.Errorf("%d masked, error %v: %s became %s", masked, err, said, out)
		}
	}
	for _, said := range []string{
		`{"kind":"Status","message":"pods \"x\" is forbidden: exceeded quota","reason":"Forbidden"}`,
		`{"kind":"Status","message":"admission webhook \"w\" denied the request: no latest tags","reason":"Forbidden"}`,
		`{"kind":"ValidatingAdmissionPolicy","metadata":{"annotations":{"about":"ValidatingAdmissionPolicy 'p' says no"}}}`,
	} {
		if out, masked, err := masking(mask.Redact, "Secret").document(&pods)([]byte(said)); err != nil || masked != 0 || string(out) != said {
			t.Errorf("%d masked, error %v: %s became %s", masked, err, said, out)
		}
	}
}

// told sends one request, and returns all that is said about it: warnings too.
func (w *through) told(t *testing.T, method, path, contentType, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+w.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if strings.Contains(path, "/exec") {
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": spdyUpgrade, spdyProtocols: channelV4} {
			r.Header.Set(name, value)
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}
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
	return fmt.Sprint(answer.Status, answer.Header["Warning"], string(text))
}

// TestAdmissionPoliciesTellNoSecret has a real API server say values of Secrets as
// a warning and as a refusal, of requests for Secrets, for other objects that a
// policy reads a Secret beside, and for a program in a pod.
func TestAdmissionPoliciesTellNoSecret(t *testing.T) {
	w := masked(t, "gate")
	admin := apiserver(t).Admin
	const values = `'said ' + %[1]s.data.map(k, string(%[1]s.data[k])).join(' ')`
	for _, policy := range []struct{ resource, operation, reads, action string }{
		{"secrets", "UPDATE", "oldObject", "Warn"},
		{"secrets", "UPDATE", "oldObject", "Deny"},
		{"secrets", "DELETE", "oldObject", "Deny"},
		{"configmaps", "CREATE", "params", "Warn"},
		{"configmaps", "UPDATE", "params", "Deny"},
		{"pods/exec", "CONNECT", "params", "Deny"},
	} {
		name := strings.ToLower(strings.ReplaceAll(policy.resource+"-"+policy.operation+"-"+policy.action, "/", "-"))
		spec := kubernetes.Object{
			"matchConstraints": kubernetes.Object{
				"namespaceSelector": kubernetes.Object{"matchLabels": kubernetes.Object{"kubernetes.io/metadata.name": "gate"}},
				"resourceRules":     []any{kubernetes.Object{"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{policy.operation}, "resources": []string{policy.resource}}},
			},
			"validations": []any{kubernetes.Object{"expression": "false", "reason": "Forbidden", "messageExpression": fmt.Sprintf(values, policy.reads)}},
		}
		bound := kubernetes.Object{"policyName": name, "validationActions": []string{policy.action}}
		if policy.reads == "params" {
			spec["paramKind"] = kubernetes.Object{"apiVersion": "v1", "kind": "Secret"}
			bound["paramRef"] = kubernetes.Object{"name": "other", "namespace": "gate", "parameterNotFoundAction": "Allow"}
		}
		for kind, spec := range map[string]kubernetes.Object{"ValidatingAdmissionPolicy": spec, "ValidatingAdmissionPolicyBinding": bound} {
			path := "/apis/admissionregistration.k8s.io/v1/" + strings.Replace(strings.ToLower(kind)+"s", "policys", "policies", 1)
			object := kubernetes.Object{"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": kubernetes.Object{"name": name}, "spec": spec}
			if _, err := admin.Call(t.Context(), http.MethodPost, path, object); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = admin.Call(context.Background(), http.MethodDelete, path+"/"+name, nil) })
		}
	}
	const gate = "/api/v1/namespaces/gate/"
	for _, test := range []struct{ method, path, contentType, body, policy string }{
		{http.MethodPatch, gate + "secrets/db?dryRun=All", "application/merge-patch+json", `{"metadata":{"labels":{"a":"b"}}}`, "secrets-update-warn"},
		{http.MethodPatch, gate + "secrets/other", "application/merge-patch+json", `{"metadata":{"labels":{"a":"b"}}}`, "secrets-update-deny"},
		{http.MethodDelete, gate + "secrets/db?dryRun=All", jsonType, "", "secrets-delete-deny"},
		{http.MethodPost, gate + "configmaps?dryRun=All", jsonType, `{"metadata":{"name":"new"}}`, "configmaps-create-warn"},
		{http.MethodPatch, gate + "configmaps/manifests", "application/merge-patch+json", `{"data":{"a":"b"}}`, "configmaps-update-deny"},
		{http.MethodPost, gate + "pods/web/exec?command=true&stdout=1", jsonType, "", "pods-exec-connect-deny"},
	} {
		var said string
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(said, test.policy); <-time.After(100 * time.Millisecond) {
			if said = w.told(t, test.method, test.path, test.contentType, test.body); time.Now().After(deadline) {
				t.Fatalf("%s %s: no policy is in force: %s", test.method, test.path, said)
			}
		}
		if found := leaks([]byte(said)); found != "" {
			t.Errorf("%s %s: leaks %q: %s", test.method, test.path, found, said)
		}
	}
	for _, e := range w.journal.Requests() {
		if found := leaks(fmt.Append(nil, e.Streams)); found != "" {
			t.Errorf("recorded of %.200s: %q", e.Text, found)
		}
	}
}
