package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/kubernetes"
)

// kubectlPath is the one that was built for the server, whatever else is on this
// machine.
var kubectlPath = filepath.Join(kubernetes.Installed, "kubectl")

// kubectl runs it in a job, which finds its kubeconfig in its image.
func kubectl(args ...string) result {
	return run(append([]string{"job", "--", kubectlPath}, args...)...)
}

// kubectlWith is kubectl with something on its standard input.
func kubectlWith(input string, args ...string) result {
	job := labCommand(append([]string{"job", "--", kubectlPath}, args...)...)
	job.Stdin = strings.NewReader(input)
	return resultOf(job)
}

// curl asks the API server in a job, and believes whom its image does.
const curl = "curl -sS --cacert /run/sluice/ca.pem"

// kubeScript runs lines of a shell in one job.
func kubeScript(lines string) result {
	job := labCommand("job", "--", "sh", "-s")
	job.Stdin = strings.NewReader(lines)
	return resultOf(job)
}

// kubeAdmin asks the cluster itself, around the agent.
func kubeAdmin(t *testing.T, args ...string) string {
	t.Helper()
	r := run(append([]string{"admin", "kube", "--", kubectlPath}, args...)...)
	if r.code != 0 {
		t.Fatalf("admin kubectl %v: %s", args, r.all())
	}
	return strings.TrimSpace(r.out)
}

// kubeSession waits for the session of a job that spoke to the API server.
func kubeSession(t *testing.T, began time.Time) sessionView {
	t.Helper()
	return newest(t, began, func(s sessionView) bool { return s.Resource == "kube" })
}

// asked is what the API server's own audit log has of one request.
type asked struct {
	Verb, RequestURI, UserAgent string
	User                        struct{ Username string }
	ObjectRef                   struct{ Resource, Namespace, Name string }
}

// kubeLog returns what the API server was asked since a moment by others than
// itself and its administrator.
func kubeLog(t *testing.T, since time.Time) (all []asked) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.dir, "kube", "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var one struct {
			asked
			RequestReceivedTimestamp time.Time
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		if one.RequestReceivedTimestamp.After(since) && one.User.Username != "admin" && !strings.HasPrefix(one.User.Username, "system:") {
			all = append(all, one.asked)
		}
	}
	return all
}

// nowhere looks for values in all that the collector has of a session.
func nowhere(t *testing.T, s sessionView, values ...string) {
	t.Helper()
	lacks(t, ctl(t, "show", "--json", s.ID)+ctl(t, "replay", s.ID), values...)
	bundle := filepath.Join(t.TempDir(), "bundle")
	ctl(t, "export", "--session", s.ID, "-o", bundle)
	err := filepath.WalkDir(bundle, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, value := range values {
			if strings.Contains(string(data), value) {
				t.Errorf("%q is in the export's %s", value, entry.Name())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The password of the shop's database, as the cluster has it and as its objects
// say it.
const (
	kubePassword        = "correct-horse-battery"
	kubePasswordEncoded = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"
)

func TestKubectlGetsSecretsMasked(t *testing.T) {
	const raw = "/api/v1/namespaces/shop/secrets"
	var script strings.Builder
	for _, try := range [][]string{
		{"get", "secret", "db", "-o", "yaml"},
		{"get", "secret", "db", "-o", "json"},
		{"get", "secret", "db", "-o", "jsonpath={.data.password}"},
		{"get", "secret", "db", "-o", `go-template={{range .data}}{{. | base64decode}}{{"\n"}}{{end}}`},
		{"get", "secrets", "-A", "-o", "yaml", "--chunk-size=1"},
		{"get", "secrets", "-o", "custom-columns=ALL:.data"},
		{"get", "secrets,configmaps", "-o", "yaml"},
		{"get", "secrets", "-o", "json", "--watch", "--request-timeout=2s"},
		{"get", "--raw", raw + "/db"},
		{"get", "--raw", raw + "?limit=1"},
		{"get", "--raw", raw + "?watch=true&timeoutSeconds=1"},
		{"get", "--raw", "/api/v1/watch/secrets?timeoutSeconds=1"},
		{"get", "--raw", "/api/v1/secrets?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"},
		{"label", "secret", "db", "seen=yes", "--overwrite", "-o", "yaml"},
		{"patch", "secret", "db", "--type=json", "-p", `[{"op":"copy","from":"/data/password","path":"/metadata/annotations"}]`, "-o", "yaml"},
		{"patch", "secret", "db", "--type=json", "-p", `[{"op":"test","path":"/data/password","value":"x"}]`},
		{"annotate", "secret", "db", "seen=yes", "--overwrite", "--dry-run=server", "-o", "json"},
		{"create", "secret", "generic", "db", "--from-literal=a=b", "--dry-run=server", "-o", "yaml"},
		{"delete", "secret", "db", "--dry-run=server", "-o", "yaml"},
		{"describe", "secret", "db"},
		// Of a patch that makes it invalid the server quotes the whole object.
		{"patch", "secret", "db", "--type=merge", "-p", `{"type":7}`},
		{"patch", "secret", "db", "--type=merge", "-p", `{"kind":"ConfigMap"}`},
		{"patch", "secret", "db", "--type=merge", "-p", `{"metadata":{"labels":"x"}}`},
		{"patch", "secret", "db", "--type=merge", "-p", `{"data":{"other":"%%"}}`},
		{"patch", "secret", "db", "--type=json", "-p", `[{"op":"add","path":"/immutable","value":"x"}]`},
		{"patch", "secret", "db", "--type=json", "-p", `[{"op":"replace","path":"/apiVersion","value":"v2"}]`},
		{"patch", "secret", "db", "--type=strategic", "-p", `{"immutable":"x"}`},
	} {
		script.WriteString(kubectlPath + " -n shop")
		for _, arg := range try {
			script.WriteString(" '" + arg + "'")
		}
		script.WriteString("\n")
	}
	for _, accept := range []string{
		"application/vnd.kubernetes.protobuf", "application/cbor", "application/yaml", "*/*", "application/json;as=Table;v=v1;g=meta.k8s.io",
		"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "text/html",
	} {
		script.WriteString(curl + " --compressed -H 'Accept: " + accept + "' 'https://kube.lab:6443" + raw + "?includeObject=Object'\n")
	}
	r := kubeScript(script.String())
	lacks(t, r.all(), kubePassword, kubePasswordEncoded)
	if got := strings.Count(r.out, "W3JlZGFjdGVkXQ=="); got < 20 { // [redacted], so that who decodes it reads that
		t.Errorf("it was masked %d times: %s", got, r.all())
	}
	if got := kubeAdmin(t, "-n", "shop", "get", "secret", "db", "-o", "jsonpath={.data.password}"); got != kubePasswordEncoded {
		t.Errorf("the cluster itself has %q", got)
	}
}

func TestMaskedSecretIsInNoRecordAndTheSessionSaysWhoseItIs(t *testing.T) {
	began := time.Now()
	r := run("job", "--name", "kube-records", "--env", "CLAUDECODE=1", "--", kubectlPath, "-n", "shop", "get", "secret", "db", "-o", "yaml")
	if r.code != 0 {
		t.Fatal(r.all())
	}
	s := kubeSession(t, began)
	if s.Protocol != "kubernetes" || s.Masked != 2 || s.Assurance != "A3" || s.Orch["name"] != "kube-records" || s.Agent["kind"] != "ai" || s.Verified["repository"] != "acme/shop" {
		t.Errorf("got %+v", s)
	}
	nowhere(t, s, kubePassword, kubePasswordEncoded)
	contains(t, ctl(t, "show", s.ID), "log in as sluice-agent", "get secrets/db in shop", "GET /api/v1/namespaces/shop/secrets/db")
	contains(t, ctl(t, "replay", s.ID), "W3JlZGFjdGVkXQ==")
	contains(t, ctl(t, "search", "secrets"), s.ID)
	ctl(t, "verify")
	lines := kubeLog(t, began)
	if !slices.ContainsFunc(lines, func(a asked) bool {
		return a.ObjectRef.Name == "db" && a.User.Username == "sluice-agent" && strings.Contains(a.UserAgent, "sluice/"+s.ID)
	}) {
		t.Errorf("the server's own log does not lead to the session: %+v", lines)
	}
}

// TestSecretThatAJobWritesArrivesWhole writes one in the ways of kubectl: apply
// keeps a copy of it in an annotation.
func TestSecretThatAJobWritesArrivesWhole(t *testing.T) {
	const value, encoded = "canary-of-the-job", "Y2FuYXJ5LW9mLXRoZS1qb2I="
	began := time.Now()
	for name, manifest := range map[string]string{
		"written-data":   `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"written-data"},"data":{"key":"` + encoded + `"}}`,
		"written-string": `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"written-string"},"stringData":{"key":"` + value + `"}}`,
	} {
		defer run("admin", "kube", "--", kubectlPath, "-n", "shop", "delete", "secret", name)
		if r := kubectlWith(manifest, "-n", "shop", "apply", "-f", "-"); r.code != 0 {
			t.Fatal(r.all())
		}
		if got := kubeAdmin(t, "-n", "shop", "get", "secret", name, "-o", "jsonpath={.data.key}"); got != encoded {
			t.Errorf("the cluster has %q", got)
		}
		s := kubeSession(t, began)
		nowhere(t, s, value, encoded)
		lacks(t, kubectl("-n", "shop", "get", "secret", name, "-o", "yaml").all(), value, encoded)
		began = time.Now()
	}
}

func TestNamespaceIsNotDeleted(t *testing.T) {
	began := time.Now()
	r := kubectl("delete", "namespace", "prod")
	if r.code != 1 {
		t.Errorf("kubectl ended with %d", r.code)
	}
	contains(t, r.errs, `Error from server (Forbidden): sluice: refused by rule "namespaces-stay": A namespace is not for pipelines to delete.`)
	kubeScript(curl + " -X DELETE https://kube.lab:6443/api/v1/namespaces/prod")
	if got := kubeAdmin(t, "get", "namespace", "prod", "-o", "jsonpath={.status.phase}"); got != "Active" {
		t.Errorf("the namespace is %q", got)
	}
	for _, a := range kubeLog(t, began) {
		if a.Verb == "delete" {
			t.Errorf("the server was asked: %+v", a)
		}
	}
	if s := kubeSession(t, began); s.Denied != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestKubectlChangesWhatNoRuleIsAbout(t *testing.T) {
	const manifest = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"made"},"data":{"a":"1"}}`
	for _, step := range [][]string{
		{"apply", "-f", "-"},
		{"apply", "--server-side", "--force-conflicts", "-f", "-"},
		{"patch", "configmap", "made", "-p", `{"data":{"b":"2"}}`},
		{"label", "configmap", "made", "by=job"},
		{"get", "configmap", "made", "-o", "yaml"},
	} {
		if r := kubectlWith(manifest, append([]string{"-n", "shop"}, step...)...); r.code != 0 {
			t.Errorf("%v: %s", step, r.all())
		}
	}
	if got := kubeAdmin(t, "-n", "shop", "get", "configmap", "made", "-o", "jsonpath={.data.a}{.data.b}{.metadata.labels.by}"); got != "12job" {
		t.Errorf("the cluster has %q", got)
	}
	if r := kubectl("-n", "shop", "delete", "configmap", "made"); r.code != 0 {
		t.Error(r.all())
	}
	contains(t, kubectl("get", "--raw", "/version").out, `"major"`)
	// As kubectl before 1.28 does for every apply: in protobuf alone.
	contains(t, kubectl("explain", "configmaps", "--output=plaintext-openapiv2").all(), "ConfigMap")
	contains(t, kubectl("-n", "shop", "rollout", "history", "deployment/web").all(), "deployment")
}

func TestWatchBringsWhatHappens(t *testing.T) {
	job, said := startKubectl(t, 6*time.Second, "-n", "shop", "get", "configmaps", "--watch")
	eventually(t, "the first list", func() bool { return strings.Contains(said.String(), "settings") })
	kubeAdmin(t, "-n", "shop", "create", "configmap", "watched")
	defer kubeAdmin(t, "-n", "shop", "delete", "configmap", "watched")
	eventually(t, "the new one", func() bool { return strings.Contains(said.String(), "watched") })
	if err := job.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("it came with the end of the watch only: %v", err)
	}
	_ = job.Wait()
}

// startKubectl starts one in a job. Somebody presses Ctrl-C after a time.
func startKubectl(t *testing.T, most time.Duration, args ...string) (job *exec.Cmd, said *transcript) {
	t.Helper()
	said = &transcript{}
	job = labCommand(append([]string{"job", "--", "timeout", "-s", "INT", fmt.Sprint(most.Seconds()), kubectlPath}, args...)...)
	job.Stdout, job.Stderr = said, said
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	return job, said
}
