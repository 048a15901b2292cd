package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const repository = "/srv/git/shop.git"

// gitAdmin asks the repository itself, around the agent.
func gitAdmin(t *testing.T, args ...string) string {
	t.Helper()
	r := run(append([]string{"admin", "git", "--", "git", "-C", repository}, args...)...)
	if r.code != 0 {
		t.Fatalf("git %v: %s", args, r.all())
	}
	return strings.TrimSpace(r.out)
}

// overEach runs a test over each of git's transports.
func overEach(t *testing.T, test func(t *testing.T, host, resource string)) {
	for host, resource := range map[string]string{"ssh://git.lab": "git-ssh", "https://git.lab": "git-https"} {
		t.Run(resource, func(t *testing.T) { test(t, host, resource) })
	}
}

// pushing is a job that clones, changes the last commit and pushes.
func pushing(host, args string) []string {
	return []string{"job", "--", "sh", "-c", `cd "$(mktemp -d)" && git clone -q ` + host + repository + ` . &&
		git -c user.name=Job -c user.email=job@example.com commit -q --amend -m 'other words over ` + host + `' && git push ` + args}
}

var gitApproval = regexp.MustCompile(`remote: sluice: waiting for approval #(\d+)`)

// An unmodified git in a job: its force-push to main waits for a person, who
// sees what would be lost, and is released.
func TestForcePushWaitsForAPerson(t *testing.T) {
	overEach(t, func(t *testing.T, host, _ string) {
		before, lost := gitAdmin(t, "rev-parse", "main"), gitAdmin(t, "log", "-1", "--format=%s", "main")
		said := &transcript{}
		job := labCommand(pushing(host, "--force origin HEAD:main")...)
		job.Stdout, job.Stderr = said, said
		if err := job.Start(); err != nil {
			t.Fatal(err)
		}
		var number string
		eventually(t, "the waiting text", func() bool {
			found := gitApproval.FindStringSubmatch(said.String())
			if found != nil {
				number = found[1]
			}
			return found != nil
		})
		if at := gitAdmin(t, "rev-parse", "main"); at != before {
			t.Fatalf("main is at %s before anybody said yes", at)
		}
		contains(t, ctl(t, "approvals", "show", number), "refs/heads/main", "FORCED", "loses "+before[:10]+" "+lost, "other words over "+host)
		ctl(t, "approvals", "approve", number)
		if err := job.Wait(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		contains(t, said.String(), "sluice: approval #"+number+": approved by", "(forced update)")
		if subject := gitAdmin(t, "log", "-1", "--format=%s", "main"); subject != "other words over "+host {
			t.Errorf("main's last commit is %q", subject)
		}
	})
}

func TestDeletionOfMainIsDenied(t *testing.T) {
	overEach(t, func(t *testing.T, host, _ string) {
		before := gitAdmin(t, "rev-parse", "main")
		r := run(pushing(host, "origin :main")...)
		if r.code != 1 {
			t.Errorf("git ended with %d", r.code)
		}
		contains(t, r.all(), "! [remote rejected] main (sluice: refused by rule \"main-stays\"")
		if at := gitAdmin(t, "rev-parse", "main"); at != before {
			t.Errorf("main is at %q", at)
		}
	})
}

// What came with a push can be read from its record, and a pack that is small
// enough is there whole. The tree is a delta of one that the server has, which
// has no name before it is applied. The commit names the way that it takes: within
// a second the second way's would be the first one's, and there already.
func TestPushIsOnTheRecord(t *testing.T) { overEach(t, pushIsOnTheRecord) }

func pushIsOnTheRecord(t *testing.T, host, resource string) {
	before := time.Now()
	r := run("job", "--", "sh", "-c", `cd "$(mktemp -d)" && git clone -q `+host+repository+` . && echo kept >kept && git add kept &&
		git -c user.name=Job -c user.email=job@example.com commit -q -m 'keep this' -m `+resource+` && git push origin HEAD:refs/heads/`+resource)
	if r.code != 0 {
		t.Fatal(r.all())
	}
	type operation struct {
		Kind, Text string
		Chunks     []struct {
			Stream string
			Data   []byte
		}
	}
	var push operation
	newest(t, before, func(s sessionView) bool {
		if s.Resource != resource {
			return false
		}
		var session struct{ Operations []operation }
		if err := json.Unmarshal([]byte(ctl(t, "show", "--json", s.ID)), &session); err != nil {
			t.Fatal(err)
		}
		for _, op := range session.Operations {
			if op.Kind == "push" {
				push = op
			}
		}
		return push.Kind != ""
	})
	contains(t, push.Text, "create refs/heads/"+resource+" at "+gitAdmin(t, "rev-parse", resource)[:10], "keep this (Job <job@example.com>)",
		"3 objects (1 commits, 0 trees, 1 blobs, 0 tags, 1 deltas)", "blob "+gitAdmin(t, "rev-parse", resource+":kept")+", 5 bytes")
	var pack []byte
	for _, chunk := range push.Chunks {
		if chunk.Stream == "stdin" {
			pack = append(pack, chunk.Data...)
		}
	}
	digest := sha256.Sum256(pack)
	if !bytes.HasPrefix(pack, []byte("PACK")) || !strings.Contains(push.Text, hex.EncodeToString(digest[:])) {
		t.Errorf("%d bytes of the pack are kept of\n%s", len(pack), push.Text)
	}
}

// A push of more objects than its text lists: the last of them is found by its
// id, in the push that brought it.
func TestObjectOfAPushIsFoundByItsID(t *testing.T) {
	began := time.Now()
	r := run("job", "--", "sh", "-c", `cd "$(mktemp -d)" && git clone -q ssh://git.lab`+repository+` . && for i in $(seq 600); do echo "$i" >"file-$i"; done &&
		git add . && git -c user.name=Job -c user.email=job@example.com commit -q -m many && git push -q origin HEAD:refs/heads/many && git rev-parse HEAD:file-1 HEAD:file-600`)
	ids := strings.Fields(r.out)
	if r.code != 0 || len(ids) != 2 {
		t.Fatal(r.all())
	}
	for _, id := range ids {
		eventually(t, "the object is found", func() bool {
			pushed := newest(t, began, func(s sessionView) bool { return s.Resource == "git-ssh" }) // that of the clone, until its own has come
			return strings.Contains(run("ctl", "search", id).out, pushed.ID)
		})
	}
	gitAdmin(t, "branch", "-D", "many")
}

// Over HTTPS the agent logs in, and the job neither sees with what nor gets
// anything but git's own protocol from the server.
func TestGitOverHTTPSIsNothingElse(t *testing.T) {
	began := time.Now()
	password := strings.TrimSpace(labFile(t, "secrets", "git-https"))
	r := run("job", "--", "sh", "-c", `cd "$(mktemp -d)" && GIT_CURL_VERBOSE=1 GIT_TRACE_CURL=1 git clone https://job:the-jobs-own@git.lab`+repository+` . &&
		curl -sS --cacert "$GIT_SSL_CAINFO" -o - https://git.lab`+repository+`/HEAD https://git.lab`+repository+`/config`)
	if r.code != 0 {
		t.Fatal(r.all())
	}
	lacks(t, r.all(), password, base64.StdEncoding.EncodeToString([]byte("app:"+password)), "ref: refs/heads", "repositoryformatversion")
	contains(t, r.out, "sluice: nothing but git's smart protocol is served")
	session := newest(t, began, func(s sessionView) bool { return s.Resource == "git-https" && s.Denied == 0 })
	lacks(t, ctl(t, "show", "--json", session.ID), password, "the-jobs-own")
	contains(t, labFile(t, "git-https.log"), " sluice/"+session.ID)
}

// labFile reads a file of the lab.
func labFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{lab.Dir}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
