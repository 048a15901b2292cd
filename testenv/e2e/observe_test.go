package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/kubernetes"
)

// observing puts the lab's policy in force with all of its resources only
// observed, for one test, and returns the file of the servers' authority.
func observing(t *testing.T) (ca string) {
	t.Helper()
	withResources(t, func(resources []map[string]any) []map[string]any {
		ca = resources[0]["server_tls"].(map[string]any)["ca_file"].(string)
		for _, resource := range resources {
			resource["mode"] = "observe"
			delete(resource, "credentials")
			delete(resource, "server_tls")
			delete(resource, "server_ssh")
		}
		return resources
	})
	return ca
}

// certified makes a key of a job's own with which a host lets its user in.
func certified(t *testing.T, authority, user string) (key, certificate string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	for _, args := range [][]string{
		{"-q", "-t", "ed25519", "-N", "", "-f", file},
		{"-q", "-s", filepath.Join(lab.dir, "secrets", authority), "-I", "a job's own", "-n", user, file + ".pub"},
	} {
		if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v, %s", err, out)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return read(file), read(file + "-cert.pub")
}

// ownJob is a job that has what it needs to log in by itself, in files that no
// other sees, and knows the servers, not the agent.
type ownJob struct {
	files   map[string]string
	secrets []string // what of it must be in no record
}

func newOwnJob(t *testing.T, ca string) *ownJob {
	t.Helper()
	secret := func(name string) string { return strings.TrimSpace(labFile(t, "secrets", name)) }
	authority, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	j := &ownJob{files: map[string]string{
		"ca.pem":      string(authority),
		"known_hosts": labFile(t, "ssh", "known_hosts") + labFile(t, "git", "known_hosts"),
		"kube-ca.pem": labFile(t, "kube", "ca.pem"),
		"kubeconfig":  kubernetes.Kubeconfig("https://kube.lab:6443", "/run/job/kube-ca.pem", secret("kube")),
		"pgpass":      "*:*:*:app:" + secret("shop-db") + "\n",
		"my.cnf":      "[client]\nuser=app\npassword=" + secret("shop-mysql") + "\nssl-ca=/run/job/ca.pem\nssl-verify-server-cert\n",
		"plain.cnf":   "[client]\nuser=app\npassword=" + secret("shop-mysql") + "\nskip-ssl\n",
		"curlrc":      "silent\nshow-error\ncacert = /run/job/ca.pem\nheader = \"Authorization: Bearer " + secret("web") + "\"\n",
		"git-auth":    "https://app:" + secret("git-https") + "@git.lab\n",
	}}
	j.secrets = []string{secret("kube"), secret("shop-db"), secret("shop-mysql"), secret("web"), secret("git-https")}
	for host, user := range map[string]string{"build-host": "deploy", "git-ssh": "git"} {
		key, certificate := certified(t, host, user)
		j.files[host], j.files[host+"-cert.pub"] = key, certificate
	}
	j.files["ssh_config"] = `Host *
  UserKnownHostsFile /run/job/known_hosts
  GlobalKnownHostsFile /dev/null
  IdentitiesOnly yes
  BatchMode yes
Host ssh.lab
  User deploy
  IdentityFile /run/job/build-host
Host git.lab
  IdentityFile /run/job/git-ssh
`
	return j
}

// run runs lines of a shell as such a job.
func (j *ownJob) run(lines string) result {
	script := "umask 077\nmkdir /run/job\n"
	for name, text := range j.files {
		script += fmt.Sprintf("cat >/run/job/%s <<'END-OF-FILE'\n%s\nEND-OF-FILE\n", name, strings.TrimSuffix(text, "\n"))
	}
	script += `export HOME=/run/job PGPASSFILE=/run/job/pgpass KUBECONFIG=/run/job/kubeconfig GIT_SSL_CAINFO=/run/job/ca.pem GIT_SSH_COMMAND='ssh -F /run/job/ssh_config'
exec 2>&1
` + lines
	job := labCommand("job", "--", "sh", "-s")
	job.Stdin = strings.NewReader(script)
	return resultOf(job)
}

// TestObservedJobsWorkAsDirectly: where all is only observed, programs that log
// in by themselves and believe nobody but the servers get what the servers
// give, unmasked and unrefused, and the records say who it was, which server
// was asked for, how much passed, and why nobody read it.
func TestObservedJobsWorkAsDirectly(t *testing.T) {
	job := newOwnJob(t, observing(t))
	for _, test := range []struct{ resource, lines, want, fact string }{
		{"build-host", "ssh -F /run/job/ssh_config ssh.lab 'touch a; rm a; id -un; exit 7'; echo $?", "deploy\n7\n", "SSH-2.0-OpenSSH_"},
		{"build-host", "echo 'ls /home' | sftp -q -F /run/job/ssh_config -b - ssh.lab | tail -1", "/home/deploy", "SSH-2.0-OpenSSH_"},
		{"git-ssh", gitObserved("ssh://git@git.lab"), "observed\n", "SSH-2.0-OpenSSH_"},
		{"git-https", "git config --global credential.helper 'store --file /run/job/git-auth'\n" + gitObserved("https://git.lab"), "observed\n", "TLS for git.lab, ALPN h2"},
		{"kube", kubectlPath + " -n shop get secret db -o jsonpath={.data.password} | base64 -d", "correct-horse-battery", "TLS for kube.lab, ALPN h2"},
		{"web-api", "curl -K /run/job/curlrc https://web.lab/v1/customers", "ada@example.com", "TLS for web.lab, ALPN h2"},
		{"web-api", "curl -K /run/job/curlrc --http1.1 -X DELETE -w '%{http_code}' https://web.lab/v1/releases/none", "204", "TLS for web.lab, ALPN http/1.1"},
		{"shop-db", "psql -Atc 'SELECT email FROM customers WHERE id = 1' 'host=pg.lab user=app dbname=shop sslmode=verify-full sslrootcert=/run/job/ca.pem'", "ada@example.com", "TLS for pg.lab"},
		{"shop-mysql", "mariadb --defaults-file=/run/job/my.cnf -h mysql.lab -N shop -e 'SELECT email FROM customers WHERE id = 1'", "ada@example.com", "TLS"},
	} {
		t.Run(test.resource, func(t *testing.T) {
			began := time.Now()
			r := job.run(test.lines)
			contains(t, r.all(), test.want)
			s := newest(t, began, func(s sessionView) bool { return s.Resource == test.resource && s.Operations > 0 })
			if s.Denied != 0 || s.Held != 0 || s.Masked != 0 || s.Assurance != "A3" {
				t.Errorf("recorded as %+v", s)
			}
			shown := ctl(t, "show", "--json", s.ID)
			var told struct {
				Operations []struct {
					Kind, Effect, Reason, Tag, Status string
					Observed                          bool
				}
			}
			if err := json.Unmarshal([]byte(shown), &told); err != nil {
				t.Fatal(err)
			}
			last := told.Operations[len(told.Operations)-1]
			if last.Kind != "unread" || !last.Observed || last.Reason != "encrypted by the job" || last.Status != "ok" ||
				!strings.HasPrefix(last.Tag, test.fact) || strings.Contains(last.Tag, " 0 received") {
				t.Errorf("recorded as %+v", last)
			}
			contains(t, ctl(t, "show", s.ID), "not read: encrypted by the job", test.fact)
			lacks(t, shown+r.all(), append(slices.Clone(job.secrets), "BEGIN OPENSSH")...)
			lacks(t, shown, "ada@example.com", "correct-horse-battery")
		})
	}
	report := ctl(t, "policy", "observe-report", "--since", "10m")
	contains(t, report, "not read: encrypted by the job", "of which nobody read all")
}

// TestObservedStatementsAreRead: without TLS the statements of an unmodified
// mariadb are recorded, with what policy would have made of them. They run.
func TestObservedStatementsAreRead(t *testing.T) {
	job := newOwnJob(t, observing(t))
	adminMySQL(t, "SET GLOBAL require_secure_transport = OFF")
	defer adminMySQL(t, "SET GLOBAL require_secure_transport = ON")
	began := time.Now()
	r := job.run(`mariadb --defaults-file=/run/job/plain.cnf -h mysql.lab -N shop <<'END'
CREATE TABLE passing (a int);
ALTER TABLE passing ADD COLUMN b int;
DROP TABLE passing;
SELECT email FROM customers WHERE id = 1;
END
`)
	if r.out != "ada@example.com\n" {
		t.Fatalf("got %s", r.all())
	}
	s := newest(t, began, func(s sessionView) bool { return s.Resource == "shop-mysql" })
	if s.Denied != 0 || s.Held != 0 {
		t.Errorf("recorded as %+v", s)
	}
	shown := ctl(t, "show", s.ID)
	contains(t, shown, "only observed, would be deny by never-drop-a-table", "only observed, would be hold by schema-changes-need-a-person", "DROP TABLE", "user=app database=shop")
	lacks(t, shown+ctl(t, "replay", s.ID), append(slices.Clone(job.secrets), "ada@example.com")...)
	contains(t, ctl(t, "policy", "observe-report", "--since", "10m"), "would be deny", "would be hold", "never-drop-a-table")
}

// TestObservedRequestsAreRead: without TLS the requests of an unmodified curl are
// recorded by what rules read of them, and by their status.
func TestObservedRequestsAreRead(t *testing.T) {
	job := newOwnJob(t, observing(t))
	began := time.Now()
	r := job.run("curl -K /run/job/curlrc -X POST -d '{\"to\": \"nobody\"}' 'http://web.lab/v1/deployments?password=of-nobody' http://web.lab/v1/nothing")
	contains(t, r.all(), "deploying", "404 page not found")
	s := newest(t, began, func(s sessionView) bool { return s.Resource == "web-plain" && s.Operations == 2 })
	shown := ctl(t, "show", s.ID) + ctl(t, "show", "--json", s.ID)
	contains(t, shown, "only observed, would be allow", "POST /v1/deployments", "POST /v1/nothing", "failed 404", "ok 202", " bytes sent, ")
	lacks(t, shown, append(slices.Clone(job.secrets), "of-nobody", "deploying")...)
}

// gitObserved clones, pushes a branch and takes it away again.
func gitObserved(host string) string {
	return `cd "$(mktemp -d)" && git clone -q ` + host + repository + ` . && git push -q origin HEAD:refs/heads/observed &&
git ls-remote origin refs/heads/observed | sed 's|.*/||' && git push -q --force origin :observed
`
}

// TestNameInTLSLeadsNowhereElse: what a job says that it wants decides nothing
// where it is only observed: it speaks to the server whose address it asked for.
func TestNameInTLSLeadsNowhereElse(t *testing.T) {
	job := newOwnJob(t, observing(t))
	began := time.Now()
	r := job.run("openssl s_client -connect web.lab:443 -servername git.lab </dev/null")
	contains(t, r.all(), "CN = web.lab")
	s := newest(t, began, func(s sessionView) bool { return s.Resource == "web-api" })
	contains(t, ctl(t, "show", s.ID), "TLS for git.lab")
}

// TestObservedSessionIsKilled: a person's order ends what nobody reads, too.
func TestObservedSessionIsKilled(t *testing.T) {
	job := newOwnJob(t, observing(t))
	began := time.Now()
	ended := make(chan result, 1)
	go func() { ended <- job.run("ssh -F /run/job/ssh_config ssh.lab 'sleep 60'; echo ended with $?") }()
	var running sessionView
	eventually(t, "the session is at the collector", func() bool {
		running = lastSession(t)
		return running.Started.After(began) && running.Operations == 1
	})
	ctl(t, "kill", running.ID, "--reason", "it digs")
	r := <-ended
	contains(t, r.all(), "ended with 255")
	if r.took > 50*time.Second {
		t.Errorf("it took %v", r.took)
	}
	eventually(t, "its end is recorded", func() bool { s := lastSession(t); return s.ID == running.ID && s.Ended != nil })
	contains(t, ctl(t, "show", running.ID), "(kill)", "abandoned SSH-2.0-")
}
