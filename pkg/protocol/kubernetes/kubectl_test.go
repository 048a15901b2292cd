package kubernetes

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/testenv/kubernetes"
)

const jobToken = "the-jobs-own-token"

// kubectl runs the client as a job would.
func (w *through) kubectl(t *testing.T, stdin string, args ...string) (out, said string, err error) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := kubernetes.Kubeconfig("https://"+w.address, w.caFile, jobToken)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program(t), append([]string{"--kubeconfig", config, "--cache-dir", t.TempDir()}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// program is where kubectl is.
func program(t *testing.T) string {
	t.Helper()
	programs, err := kubernetes.Build(t.Context(), "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	return programs["kubectl"]
}

func TestKubectlGetsThroughAndIsRecorded(t *testing.T) {
	w := serve(t, nil)
	out, said, err := w.kubectl(t, "", "get", "namespaces", "-o", "name")
	if err != nil || !strings.Contains(out, "namespace/default") {
		t.Fatalf("%v: %s%s", err, out, said)
	}
	found := false
	for _, e := range w.journal.Requests() {
		if !e.Ended || e.Outcome.Status != protocol.OK {
			t.Errorf("%s ended %+v", e.Text, e.Outcome)
		}
		if strings.Contains(e.Text, "/api/v1/namespaces?") {
			found = true
			if got := e.Streams[protocol.Response]; !strings.HasPrefix(got, "200 OK\n") || !strings.Contains(got, `"name":"default"`) {
				t.Errorf("recorded %.200q", got)
			}
		}
		if strings.Contains(e.Text+e.Streams[protocol.Response], "own-token") {
			t.Errorf("a token is in the record of %s", e.Text)
		}
	}
	if !found {
		t.Error("the request is not recorded")
	}
}

func TestKubectlIsRefusedInItsOwnWords(t *testing.T) {
	w := serve(t, nil)
	w.journal.Decide = func(_ context.Context, op *operation.Operation) protocol.Decision {
		if op.Kube != nil && op.Kube.Verb == "delete" {
			return protocol.Decision{Rule: "nothing-goes", Reason: "Pipelines delete nothing."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	}
	out, said, err := w.kubectl(t, "", "delete", "namespace", "default")
	if err == nil || !strings.Contains(said, `sluice: refused by rule "nothing-goes": Pipelines delete nothing.`) {
		t.Errorf("%v: %s%s", err, out, said)
	}
	t.Log(said)
}
