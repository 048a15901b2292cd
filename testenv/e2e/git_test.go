package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// pushing is a job that clones, changes the last commit and pushes.
func pushing(args string) []string {
	return []string{"job", "--", "sh", "-c", `cd "$(mktemp -d)" && git clone -q ssh://git.lab` + repository + ` . &&
		git -c user.name=Job -c user.email=job@example.com commit -q --amend -m 'other words' && git push ` + args}
}

var gitApproval = regexp.MustCompile(`remote: sluice: waiting for approval #(\d+)`)

// An unmodified git in a job: its force-push to main waits for a person, who
// sees what would be lost, and is released.
func TestForcePushWaitsForAPerson(t *testing.T) {
	before := gitAdmin(t, "rev-parse", "main")
	said := &transcript{}
	job := labCommand(pushing("--force origin HEAD:main")...)
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
	contains(t, ctl(t, "approvals", "show", number), "refs/heads/main", "FORCED", "loses "+before[:10]+" add the checkout", "other words")
	ctl(t, "approvals", "approve", number)
	if err := job.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	contains(t, said.String(), "sluice: approval #"+number+": approved by", "(forced update)")
	if subject := gitAdmin(t, "log", "-1", "--format=%s", "main"); subject != "other words" {
		t.Errorf("main's last commit is %q", subject)
	}
}

func TestDeletionOfMainIsDenied(t *testing.T) {
	before := gitAdmin(t, "rev-parse", "main")
	r := run(pushing("origin :main")...)
	if r.code != 1 {
		t.Errorf("git ended with %d", r.code)
	}
	contains(t, r.all(), "! [remote rejected] main (sluice: refused by rule \"main-stays\"")
	if at := gitAdmin(t, "rev-parse", "main"); at != before {
		t.Errorf("main is at %q", at)
	}
}

// What came with a push can be read from its record, and a pack that is small
// enough is there whole. The tree is a delta of one that the server has, which
// has no name before it is applied.
func TestPushIsOnTheRecord(t *testing.T) {
	before := time.Now()
	r := run("job", "--", "sh", "-c", `cd "$(mktemp -d)" && git clone -q ssh://git.lab`+repository+` . && echo kept >kept && git add kept &&
		git -c user.name=Job -c user.email=job@example.com commit -q -m 'keep this' && git push origin HEAD:refs/heads/recorded`)
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
	contains(t, push.Text, "create refs/heads/recorded at "+gitAdmin(t, "rev-parse", "recorded")[:10], "keep this (Job <job@example.com>)",
		"3 objects (1 commits, 0 trees, 1 blobs, 0 tags, 1 deltas)", "blob "+gitAdmin(t, "rev-parse", "recorded:kept")+", 5 bytes")
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
	pushed := newest(t, began, func(s sessionView) bool { return s.Resource == "git-ssh" })
	for _, id := range ids {
		eventually(t, "the object is found", func() bool { return strings.Contains(run("ctl", "search", id).out, pushed.ID) })
	}
	gitAdmin(t, "branch", "-D", "many")
}
