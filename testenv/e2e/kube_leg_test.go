package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kubeSecret is one of the lab's own: the agent's token, or the job's.
func kubeSecret(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.dir, "secrets", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestCredentialsStayOnTheirOwnLegs looks for the agent's token in the job, and
// for the job's in the records and at the server.
func TestCredentialsStayOnTheirOwnLegs(t *testing.T) {
	theirs, own := kubeSecret(t, "kube"), kubeSecret(t, "kube-job")
	began := time.Now()
	r := kubeScript(kubectlPath + " -v=9 -n shop get configmap settings\n" +
		// From a file: a command line is recorded with the session's claims.
		"cat >/tmp/fields <<'EOF'\nAuthorization: Bearer " + own + "\nX-Remote-User: admin\nX-Remote-Group: system:masters\nCookie: a=" + own + "\nEOF\n" +
		curl + " -v -H @/tmp/fields https://kube.lab:6443/api/v1/namespaces/shop/configmaps/settings; rm /tmp/fields\n" +
		kubectlPath + " auth whoami -o yaml\n")
	contains(t, r.out, "settings", "username: sluice-agent")
	lacks(t, r.all(), theirs)
	var told []sessionView
	eventually(t, "the collector has the sessions of three clients", func() bool {
		told = slices.DeleteFunc(lab.Sessions(t, 10), func(s sessionView) bool {
			return s.Resource != "kube" || !s.Started.After(began) || s.Ended == nil
		})
		return len(told) == 3
	})
	for _, s := range told {
		nowhere(t, s, theirs, own)
	}
	lines := kubeLog(t, began)
	for _, a := range lines {
		if a.User.Username != "sluice-agent" || !strings.Contains(a.UserAgent, "sluice/") {
			t.Errorf("the server took a request for another's: %+v", a)
		}
	}
	if len(lines) == 0 {
		t.Error("the server's log has nothing")
	}
}

// TestJobOfAVerifiedCommitIsAnotherUser logs in with a client certificate.
func TestJobOfAVerifiedCommitIsAnotherUser(t *testing.T) {
	r := run("job", "--commit", "1f2e3d", "--", kubectlPath, "auth", "whoami")
	contains(t, r.all(), "sluice-releaser")
}

func TestNobodyIsImpersonated(t *testing.T) {
	began := time.Now()
	r := kubeScript(kubectlPath + " --as=admin --as-group=system:masters get namespaces\n" +
		curl + " -H 'impersonate-user: admin' https://kube.lab:6443/api/v1/namespaces\n")
	contains(t, r.all(), "Forbidden", "impersonation is refused")
	lacks(t, r.all(), "kube-system")
	if lines := kubeLog(t, began); len(lines) != 0 {
		t.Errorf("the server was asked: %+v", lines)
	}
}

func TestBothVersionsOfHTTPAreServed(t *testing.T) {
	const get = ` -w '%{http_version} %{http_code}\n' -o /dev/null https://kube.lab:6443/api/v1/namespaces/shop/configmaps`
	r := kubeScript(curl + " --http2" + get + "\n" + curl + " --http1.1" + get + "\n")
	if r.out != "2 200\n1.1 200\n" {
		t.Errorf("got %s", r.all())
	}
	contains(t, kubeScript("curl -sS http://kube.lab:6443/version\n").all(), "https")
}

// TestWhoDoesNotBelieveTheAgentIsNotServed has a job that knows the cluster's own
// authority only. One that believes anybody is served, and masked as others are.
func TestWhoDoesNotBelieveTheAgentIsNotServed(t *testing.T) {
	ca, err := os.ReadFile(filepath.Join(lab.dir, "kube", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r := kubeScript("cat >/tmp/cluster.pem <<'EOF'\n" + string(ca) + "EOF\n" +
		kubectlPath + " config set-cluster cluster --kubeconfig=/tmp/own --server=https://kube.lab:6443 --certificate-authority=/tmp/cluster.pem\n" +
		kubectlPath + " config set-context c --kubeconfig=/tmp/own --cluster=cluster\n" +
		kubectlPath + " --kubeconfig=/tmp/own --context=c --token=t get secrets -A -o yaml\necho \"ended $?\"; rm -f /tmp/own /tmp/cluster.pem\n")
	contains(t, r.all(), "x509: certificate signed by unknown authority", "ended 1")
	if lines := kubeLog(t, began); len(lines) != 0 {
		t.Errorf("the server was asked: %+v", lines)
	}
	r = kubeScript(kubectlPath + " config view --raw | sed 's#certificate-authority:.*#insecure-skip-tls-verify: true#' >/tmp/any\n" +
		"KUBECONFIG=/tmp/any " + kubectlPath + " -n shop get secret db -o yaml; rm -f /tmp/any\n")
	contains(t, r.out, "W3JlZGFjdGVkXQ==")
	lacks(t, r.all(), kubePasswordEncoded)
}

// TestAddressIsAsGoodAsTheName asks by it, and by names that are not the
// server's.
func TestAddressIsAsGoodAsTheName(t *testing.T) {
	const path = "/api/v1/namespaces/shop/secrets/db"
	r := kubeScript("ip=$(getent hosts kube.lab | cut -d' ' -f1)\n" +
		"curl -sS --cacert /run/sluice/ca.pem https://$ip:6443" + path + "\n" +
		"curl -sSk --connect-to other.lab:6443:$ip:6443 https://other.lab:6443" + path + "\n" +
		"curl -sSk -X DELETE https://$ip:6443/api/v1/namespaces/prod\n" +
		"curl -sSk -X DELETE --path-as-is https://$ip:6443/api/v1/namespaces/../namespaces/prod\n" +
		"curl -sSk -X DELETE --path-as-is https://$ip:6443/api/v1//namespaces/prod\n" +
		"curl -sSk -X DELETE https://$ip:6443/api/v1/namespaces/pr%6fd\n")
	lacks(t, r.all(), kubePassword, kubePasswordEncoded)
	contains(t, r.out, "W3JlZGFjdGVkXQ==", "namespaces-stay")
	if got := kubeAdmin(t, "get", "namespace", "prod", "-o", "jsonpath={.status.phase}"); got != "Active" {
		t.Errorf("the namespace is %q", got)
	}
}

func TestDeadAgentLeavesTheClusterUnreachable(t *testing.T) {
	began := time.Now()
	if r := run("kill", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	r := kubeScript(kubectlPath + " get namespaces\ncurl -sSk https://$(getent hosts kube.lab | cut -d' ' -f1):6443/version\n")
	if up := run("start", "agent"); up.code != 0 {
		t.Fatal(up.all())
	}
	contains(t, r.all(), "refused")
	if lines := kubeLog(t, began); len(lines) != 0 {
		t.Errorf("the server was asked: %+v", lines)
	}
	if r := kubectl("get", "namespaces"); r.code != 0 {
		t.Errorf("after the agent came back: %s", r.all())
	}
}

// TestClusterBehindAHostIsProtectedAsWell reaches the API server through the SSH
// host: a session inside of the host's.
func TestClusterBehindAHostIsProtectedAsWell(t *testing.T) {
	began := time.Now()
	r := kubeScript("ssh -f -N -o ExitOnForwardFailure=yes -L 127.0.0.1:16443:kube.lab:6443 ssh.lab\n" +
		curl + " --connect-to kube.lab:6443:127.0.0.1:16443 https://kube.lab:6443/api/v1/namespaces/shop/secrets/db\n" +
		curl + " --connect-to kube.lab:6443:127.0.0.1:16443 -X DELETE https://kube.lab:6443/api/v1/namespaces/prod\n")
	contains(t, r.out, "W3JlZGFjdGVkXQ==", "namespaces-stay")
	lacks(t, r.all(), kubePasswordEncoded)
	s := newest(t, began, func(s sessionView) bool { return s.Resource == "kube" && s.Masked > 0 })
	if s.Parent == "" || s.Assurance != "A3" {
		t.Errorf("got %+v", s)
	}
}
