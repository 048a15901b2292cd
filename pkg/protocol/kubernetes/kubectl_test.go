package kubernetes

import (
	"context"
	"errors"
	"net"
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
	cmd.Env = append(os.Environ(), w.env...)
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
}

const shelf = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shelf","namespace":"default"},"data":{"a":"1"}}`

// TestKubectlDoesItsWork runs what jobs run, over both versions of HTTP.
func TestKubectlDoesItsWork(t *testing.T) {
	for name, env := range map[string][]string{"HTTP/2": nil, "HTTP/1.1": {"GODEBUG=http2client=0"}} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, nil)
			w.env = env
			for _, test := range []struct {
				stdin, args, want string
			}{
				{"", "api-resources", "configmaps"},
				{"", "get --raw /version", "gitVersion"},
				{"", "explain configmap", "KIND:"},
				{shelf, "create -f -", "configmap/shelf created"},
				{strings.Replace(shelf, `"1"`, `"2"`, 1), "apply -f -", "configmap/shelf configured"},
				{strings.Replace(shelf, `"1"`, `"3"`, 1), "apply --server-side --force-conflicts -f -", "configmap/shelf serverside-applied"},
				{"", `patch configmap shelf --type merge -p {"data":{"b":"4"}}`, "configmap/shelf patched"},
				{"", `patch configmap shelf --type json -p [{"op":"remove","path":"/data/b"}]`, "configmap/shelf patched"},
				{"", "label configmap shelf on=it", "configmap/shelf labeled"},
				{"", "get configmaps", "shelf"},
				{"", "get configmaps -A -o wide", "shelf"},
				{"", "get configmap shelf -o yaml", "a: \"3\""},
				{"", "get configmap shelf -o jsonpath={.data.a}", "3"},
				{"", "describe configmap shelf", "Name:"},
				{"", "auth can-i delete configmaps", "yes"},
				{"", "auth whoami", "agent"},
				{"", "get configmap shelf --watch-only --request-timeout=1s", ""},
				{"", "diff -f " + written(t, strings.Replace(shelf, `"1"`, `"3"`, 1)), ""},
				{"", "replace -f " + written(t, shelf), "configmap/shelf replaced"},
				{"", "delete configmap shelf --wait=true", `configmap "shelf" deleted`},
				{"", "wait --for=delete configmap/shelf --timeout=5s", ""},
			} {
				out, said, err := w.kubectl(t, test.stdin, strings.Fields(test.args)...)
				timedOut := strings.Contains(test.args, "--watch-only") // that is how it ends
				if err != nil && !timedOut || !strings.Contains(out, test.want) {
					t.Errorf("kubectl %s: %v: %s%s", test.args, err, out, said)
				}
			}
			if _, _, err := w.kubectl(t, "", "get", "configmap", "nothing"); err == nil {
				t.Error("what is not there is found")
			}
			for _, e := range w.journal.Requests() {
				if !e.Ended || !e.Op.Parsed || e.Outcome.Status == protocol.Refused {
					t.Errorf("%.200q ended %+v, understood: %v", e.Text, e.Outcome, e.Op.Parsed)
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, err := range w.errs {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// written is a file with a text.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "object.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServersOwnLogNamesTheSessionAndTheAgent(t *testing.T) {
	w := serve(t, nil)
	if _, said, err := w.kubectl(t, "", "get", "--raw", "/api/v1/namespaces/default"); err != nil {
		t.Fatal(said)
	}
	id := <-w.ended
	log, err := os.ReadFile(apiserver(t).AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(log), "\n") {
		if strings.Contains(line, " sluice/"+id+`"`) && strings.Contains(line, `"username":"agent"`) && strings.Contains(line, "kubectl/") {
			return
		}
	}
	t.Errorf("the log does not name session %s", id)
}

func TestKubectlSaysWhoLetItGoOn(t *testing.T) {
	w := serve(t, nil)
	w.journal.Decide = func(_ context.Context, op *operation.Operation) protocol.Decision {
		if op.Kube != nil && op.Kube.Resource == "configmaps" {
			return protocol.Decision{Effect: protocol.Allow, Approval: 7, Decider: "kim"}
		}
		return protocol.Decision{Effect: protocol.Allow}
	}
	_, said, err := w.kubectl(t, "", "get", "configmaps")
	if err != nil || !strings.Contains(said, "Warning: sluice: approval #7: approved by kim") {
		t.Errorf("%v: %s", err, said)
	}
}

func TestKubectlIsToldWhyNothingGoesOn(t *testing.T) {
	big := strings.Replace(shelf, `"1"`, `"`+strings.Repeat("x", 5<<20)+`"`, 1)
	for name, test := range map[string]struct {
		adjust func(*protocol.Conn)
		stdin  string
		args   string
		want   string
	}{
		"the server is away": {func(c *protocol.Conn) {
			c.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("refused at 192.0.2.1") }
		}, "", "get namespaces", "sluice: the server cannot be reached"},
		"another server": {
			func(c *protocol.Conn) { c.TLS.Config.ServerName = "other.example" }, "", "get namespaces",
			"sluice: the server did not prove that it is the resource",
		},
		"the agent is nobody":    {func(c *protocol.Conn) { c.Credential.Token = "unknown" }, "", "get namespaces", "sluice: the server did not accept the agent's credential"},
		"somebody else":          {nil, "", "get namespaces --as admin", "impersonation is refused"},
		"a member of a group":    {nil, "", "get namespaces --as admin --as-group system:masters", "impersonation is refused"},
		"an object too large":    {nil, big, "create --validate=false -f -", "sluice: the body is larger than 4 MiB"},
		"a path of two readings": {nil, "", "get --raw /api/v1//namespaces", "sluice: "},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, test.adjust)
			out, said, err := w.kubectl(t, test.stdin, strings.Fields(test.args)...)
			if err == nil || !strings.Contains(said, test.want) || strings.Contains(said, "192.0.2.1") {
				t.Errorf("%v: %.300s%.600s", err, out, said)
			}
		})
	}
}

// TestClientCertificateLogsIn has the agent log in with one.
func TestClientCertificateLogsIn(t *testing.T) {
	cert, key, err := apiserver(t).Certify("deployer", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	var login protocol.Credential
	for path, to := range map[string]*[]byte{cert: &login.Certificate, key: &login.Key} {
		if *to, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	w := serve(t, func(c *protocol.Conn) { c.Credential = login })
	out, said, err := w.kubectl(t, "", "auth", "whoami")
	if err != nil || !strings.Contains(out, "deployer") {
		t.Errorf("%v: %s%s", err, out, said)
	}
}
