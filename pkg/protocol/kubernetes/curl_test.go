package kubernetes

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// curl runs it as a job would.
func (w *through) curl(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	_, port, err := net.SplitHostPort(w.address)
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"-sS", "--max-time", "20", "--cacert", w.caFile, "--connect-to", "kube.example:443:127.0.0.1:" + port, "-H", "Authorization: Bearer " + jobToken}
	text, err := exec.CommandContext(t.Context(), "curl", append(base, args...)...).CombinedOutput()
	return string(text), err
}

func TestCurlGetsThrough(t *testing.T) {
	for _, version := range []string{"--http1.1", "--http2"} {
		t.Run(version, func(t *testing.T) {
			w := serve(t, nil)
			for _, test := range []struct {
				want string
				args []string
			}{
				{`"kind":"Namespace"`, []string{"https://kube.example/api/v1/namespaces/default"}},
				{`"kind":"Namespace"`, []string{"-H", "Accept: application/vnd.kubernetes.protobuf", "https://kube.example/api/v1/namespaces/default"}},
				{`"kind":"Namespace"`, []string{"-H", "Host: other.example", "-H", "X-Remote-User: admin", "https://kube.example/api/v1/namespaces/default"}},
				{`"kind":"NamespaceList"`, []string{"--compressed", "https://kube.example/api/v1/namespaces"}},
				{`"type":"ADDED"`, []string{"https://kube.example/api/v1/namespaces?watch=1&timeoutSeconds=1"}},
				{`"reason":"NotFound"`, []string{"https://kube.example/api/v1/namespaces/nothing"}},
				{`"reason":"BadRequest"`, []string{"--path-as-is", "https://kube.example/api/v1/../v1/namespaces/default"}},
				{`"reason":"BadRequest"`, []string{"https://kube.example/api/v1/namespaces/%2e%2e/default"}},
				{`"reason":"MethodNotAllowed"`, []string{"-X", "TRACE", "https://kube.example/api/v1/namespaces/default"}},
				{`"reason":"Forbidden"`, []string{"-H", "Impersonate-User: admin", "https://kube.example/api/v1/namespaces/default"}},
				{`ok`, []string{"https://kube.example/readyz"}},
			} {
				out, err := w.curl(t, append([]string{version}, test.args...)...)
				if err != nil || !strings.Contains(strings.ReplaceAll(out, ": ", ":"), test.want) {
					t.Errorf("%v: %v: %s", test.args, err, out)
				}
			}
			for _, e := range w.journal.Requests() {
				if recorded := e.Text + e.Streams[protocol.Response]; strings.Contains(recorded, jobToken) || strings.Contains(recorded, agentToken) {
					t.Errorf("a token is in the record of %.100q", e.Text)
				}
			}
		})
	}
}

// TestCurlWithoutTLSIsToldSo and with the token that it then shows everybody.
func TestCurlWithoutTLSIsToldSo(t *testing.T) {
	w := serve(t, nil)
	out, err := w.curl(t, "http://"+w.address+"/api")
	if err != nil || !strings.Contains(out, "write https") || len(w.journal.Entries()) != 0 {
		t.Errorf("%v: %s", err, out)
	}
}
