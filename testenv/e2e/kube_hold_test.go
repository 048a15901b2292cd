package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const inProduction = "production-needs-a-person"

// kubeApproval waits for the approval that somebody asks for now, by a rule.
func kubeApproval(t *testing.T, rule string) (number string) {
	t.Helper()
	eventually(t, "an approval is asked for", func() bool {
		var pending []struct {
			Number         int
			Resource, Rule string
		}
		if err := json.Unmarshal([]byte(ctl(t, "approvals", "--json")), &pending); err != nil {
			t.Fatal(err)
		}
		for _, p := range pending {
			if p.Resource == "kube" && p.Rule == rule {
				number = strconv.Itoa(p.Number)
			}
		}
		return number != ""
	})
	return number
}

func theme(t *testing.T) string {
	t.Helper()
	return kubeAdmin(t, "-n", "prod", "get", "configmap", "settings", "-o", "jsonpath={.data.theme}")
}

func themeChange(theme string) []string {
	return []string{"-n", "prod", "patch", "configmap", "settings", "-p", `{"data":{"theme":"` + theme + `"}}`}
}

func TestChangeInProductionWaitsForAPerson(t *testing.T) {
	began := time.Now()
	job, said := startKubectl(t, time.Minute, themeChange("approved")...)
	number := kubeApproval(t, inProduction)
	if got := theme(t); got == "approved" {
		t.Fatal("it changed before anybody said yes")
	}
	contains(t, ctl(t, "approvals", "show", number), "patch configmaps/settings in prod", `{"data":{"theme":"approved"}}`, "production-needs-a-person")
	ctl(t, "approvals", "approve", number)
	if err := job.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	contains(t, said.String(), "configmap/settings patched", "approved by approver")
	if got := theme(t); got != "approved" {
		t.Errorf("it was approved, and the theme is %q", got)
	}
	s := kubeSession(t, began)
	if s.Held != 1 || s.Denied != 0 {
		t.Errorf("got %+v", s)
	}
	contains(t, ctl(t, "show", s.ID), "production-needs-a-person", "by approver")
}

func TestDeniedChangeSaysWhoAndWhy(t *testing.T) {
	before := theme(t)
	job, said := startKubectl(t, time.Minute, themeChange("denied")...)
	ctl(t, "approvals", "deny", kubeApproval(t, inProduction), "--reason", "Not on a Friday")
	if err := job.Wait(); err == nil {
		t.Error("kubectl ended well")
	}
	contains(t, said.String(), "Error from server (Forbidden): sluice: refused by rule \"production-needs-a-person\"", "Not on a Friday", "approver")
	if got := theme(t); got != before {
		t.Errorf("it was denied, and the theme is %q", got)
	}
}

func TestCtrlCWithdrawsAChange(t *testing.T) {
	before := theme(t)
	job, _ := startKubectl(t, 4*time.Second, themeChange("withdrawn")...)
	number := kubeApproval(t, inProduction)
	_ = job.Wait()
	eventually(t, "the approval is withdrawn", func() bool {
		return withdrawn.MatchString(ctl(t, "approvals", "show", number, "--json"))
	})
	if late := run("ctl", "approvals", "approve", number); late.code == 0 {
		t.Error("a withdrawn approval took a vote")
	}
	if got := theme(t); got != before {
		t.Errorf("it was withdrawn, and the theme is %q", got)
	}
}

// TestHeldChangeDoesNotHoldOthers reads over the connection on which a change
// waits.
func TestHeldChangeDoesNotHoldOthers(t *testing.T) {
	began := time.Now()
	script := curl + ` --http2 --parallel -X DELETE -o /dev/null -w '%{http_code}\n' https://kube.lab:6443/api/v1/namespaces/prod/configmaps/settings \
		--next -sS --cacert /run/sluice/ca.pem -w '%{http_code} over %{num_connects} more connections\n' -o /dev/null https://kube.lab:6443/api/v1/namespaces/shop/configmaps/settings`
	job := labCommand("job", "--", "sh", "-c", script)
	said := &transcript{}
	job.Stdout, job.Stderr = said, said
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	number := kubeApproval(t, inProduction)
	eventually(t, "the other one is answered", func() bool {
		return slices.ContainsFunc(kubeLog(t, began), func(a asked) bool { return a.Verb == "get" && a.ObjectRef.Name == "settings" })
	})
	ctl(t, "approvals", "deny", number, "--reason", "no")
	_ = job.Wait()
	contains(t, said.String(), "200 over 0 more connections", "403")
	theme(t) // it is there still
}

// TestCommandInAPodWaitsForAPerson has a pod that no node runs: what is denied
// does not come so far, and what is approved does.
func TestCommandInAPodWaitsForAPerson(t *testing.T) {
	kubeAdmin(t, "-n", "shop", "run", "idle", "--image=none")
	defer kubeAdmin(t, "-n", "shop", "delete", "pod", "idle", "--grace-period=0", "--force")
	began := time.Now()
	job, said := startKubectl(t, time.Minute, "-n", "shop", "exec", "idle", "--", "id")
	number := kubeApproval(t, "shells-need-a-person")
	eventually(t, "the client is told", func() bool { return strings.Contains(said.String(), "waiting for approval #"+number) })
	contains(t, ctl(t, "approvals", "show", number), "create pods/idle/exec in shop", "id")
	ctl(t, "approvals", "deny", number, "--reason", "No shells today")
	if err := job.Wait(); err == nil {
		t.Error("kubectl ended well")
	}
	contains(t, said.String(), "sluice: refused by rule \"shells-need-a-person\"", "No shells today")
	for _, a := range kubeLog(t, began) {
		if strings.Contains(a.RequestURI, "/exec") {
			t.Errorf("the server was asked: %+v", a)
		}
	}

	began = time.Now()
	job, said = startKubectl(t, time.Minute, "-n", "shop", "exec", "idle", "--", "id")
	ctl(t, "approvals", "approve", kubeApproval(t, "shells-need-a-person"))
	if err := job.Wait(); err == nil {
		t.Errorf("a pod without a node ran it: %s", said)
	}
	if !slices.ContainsFunc(kubeLog(t, began), func(a asked) bool { return strings.Contains(a.RequestURI, "/exec?command=id") }) {
		t.Errorf("it was approved and the server not asked: %s", said)
	}
}

// TestPolicyIsTriedOnWhatClustersWereAsked has cases for the rules, and asks
// what a stricter policy would have said to what was asked already.
func TestPolicyIsTriedOnWhatClustersWereAsked(t *testing.T) {
	own := filepath.Join(lab.dir, "agent", "policy.yaml")
	cases := filepath.Join(t.TempDir(), "cases.yaml")
	const text = `cases:
  - name: a namespace is deleted
    resource: kube
    op: {kind: http, kube: {verb: delete, resource: namespaces, name: prod, namespace: prod}}
    expect: {effect: deny, rule: namespaces-stay}
  - name: production changes
    resource: kube
    op: {kind: http, kube: {verb: patch, group: apps, resource: deployments, name: web, namespace: prod}}
    expect: {effect: hold, rule: production-needs-a-person}
  - name: production is read
    resource: kube
    op: {kind: http, kube: {verb: list, resource: pods, namespace: prod}}
    expect: {effect: allow, user: sluice-agent}
`
	if err := os.WriteFile(cases, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctl(t, "policy", "test", own, cases)

	began := time.Now()
	if r := kubectl("-n", "shop", "get", "configmap", "settings"); r.code != 0 {
		t.Fatal(r.all())
	}
	kubeSession(t, began)
	policy, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	stricter := strings.Replace(string(policy), "\nrules:\n", "\nrules:\n    - {name: no-settings, resources: [kube], when: 'op.kube.resource == \"configmaps\" && op.kube.name == \"settings\"', effect: deny}\n", 1)
	if stricter == string(policy) {
		t.Fatal("the lab's policy has no place for a rule")
	}
	file := filepath.Join(t.TempDir(), "stricter.yaml")
	if err := os.WriteFile(file, []byte(stricter), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, run("ctl", "policy", "simulate", file).all(), "now deny", "no-settings")
}
