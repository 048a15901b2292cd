package ssh_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// git runs git as a job would, in a directory of the world.
func (w *world) git(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.path(dir)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_SSH_COMMAND=ssh -F " + w.client,
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// mustGit is git that has to succeed.
func (w *world) mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, code := w.git(t, dir, args...)
	if code != 0 {
		t.Fatalf("git %q: %d\n%s", args, code, out)
	}
	return strings.TrimSpace(out)
}

// A repository on a real host, through a real ssh: pushed to, cloned, rewound.
func TestGitOverOpenSSH(t *testing.T) {
	for _, version := range []string{"the server takes no GIT_PROTOCOL", "AcceptEnv GIT_PROTOCOL"} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, func(_ context.Context, op *operation.Operation, waiting func(protocol.Waiting)) protocol.Decision {
				if op.Git == nil {
					return protocol.Decision{Effect: protocol.Allow}
				}
				for _, r := range op.Git.Refs {
					if r.Forced == operation.Certainly && r.Name == "refs/heads/main" {
						waiting(protocol.Waiting{Approval: 9, Rule: "no-force"})
						return protocol.Decision{Approval: 9, Rule: "no-force", Decider: "grace", Reason: "History stays."}
					}
				}
				return protocol.Decision{Effect: protocol.Allow}
			}, version)
			w.mustGit(t, "", "init", "-q", "--bare", "-b", "main", "shop.git")
			w.mustGit(t, "", "init", "-q", "-b", "main", "work")
			url := "ssh://ssh.lab" + w.path("shop.git")
			for _, message := range []string{"one", "two"} {
				w.mustGit(t, "work", "commit", "-q", "--allow-empty", "-m", message)
			}
			w.mustGit(t, "work", "push", "-q", url, "main")
			w.mustGit(t, "", "clone", "-q", url, "clone")
			if got, want := w.mustGit(t, "clone", "rev-parse", "HEAD"), w.mustGit(t, "shop.git", "rev-parse", "main"); got != want {
				t.Errorf("the clone is at %s, the server at %s", got, want)
			}
			w.mustGit(t, "work", "commit", "-q", "--amend", "--allow-empty", "-m", "other words")
			out, code := w.git(t, "work", "push", "--force", url, "main", "HEAD:new")
			for _, text := range []string{
				"remote: sluice: waiting for approval #9", "! [remote rejected] main -> main (sluice: refused by rule \"no-force\", approval #9, decided by grace: History stays.)",
				"! [remote rejected] HEAD -> new (",
			} {
				if !strings.Contains(out, text) {
					t.Errorf("git did not print %q", text)
				}
			}
			if code != 1 {
				t.Errorf("git ended with %d:\n%s", code, out)
			}
			w.mustGit(t, "work", "push", "-q", url, "HEAD:new")
			if got := w.mustGit(t, "shop.git", "log", "--format=%s", "main"); got != "two\none" {
				t.Errorf("the server's main is now %q", got)
			}

			var kinds []string
			waitFor(t, "the end of all operations", func() bool { return len(w.guard.open()) == 0 })
			for _, e := range w.guard.ops {
				if e.op.Kind == operation.Connect {
					continue
				}
				kinds = append(kinds, string(e.op.Kind))
				if e.op.Git != nil && (e.op.Parent == 0 || e.op.Git.Repository != w.path("shop.git")) {
					t.Errorf("%s of %q, child of %d", e.op.Kind, e.op.Git.Repository, e.op.Parent)
				}
			}
			if got := strings.Join(kinds, " "); got != "exec push exec fetch exec push exec push" {
				t.Errorf("asked about %s", got)
			}
			for _, e := range w.guard.asked(operation.Exec) {
				if e.outcome.Status != protocol.OK || !e.op.Parsed {
					t.Errorf("%q ended as %+v, parsed %v", e.text, e.outcome, e.op.Parsed)
				}
			}
		})
	}
}

// A line that runs a service as a part of something else is not understood, so
// that a rule about pushes denies it: nobody would see the push.
func TestGitInsideOfACommandIsNotUnderstood(t *testing.T) {
	w := newWorld(t, nil)
	w.mustGit(t, "", "init", "-q", "--bare", "-b", "main", "shop.git")
	w.mustGit(t, "", "init", "-q", "-b", "main", "work")
	w.mustGit(t, "work", "commit", "-q", "--allow-empty", "-m", "one")
	w.mustGit(t, "work", "push", "-q", "--receive-pack", "true; git-receive-pack", "ssh://ssh.lab"+w.path("shop.git"), "main")
	for _, line := range []string{
		"git-receive-pack --stateless-rpc x", "git receive-pack x y", "git -C / receive-pack x", "/usr/bin/git --git-dir=x upload-pack .",
		"git-shell -c 'git-receive-pack x'", "git daemon --inetd --export-all", "git-upload-pack x </dev/null", "nice git-receive-pack x",
		"sudo git-receive-pack x", "git http-backend", "sh -c 'git-receive-pack x'", "git-receive-pack x && true",
	} {
		w.ssh(t, "", line)
	}
	w.ssh(t, "0000", "-tt", "git-receive-pack 'x'")
	for _, e := range w.guard.asked(operation.Exec) {
		if e.op.Parsed {
			t.Errorf("%q was understood: %+v", e.text, e.op.SSH.Commands)
		}
	}
	if len(w.guard.asked(operation.Push)) > 0 {
		t.Errorf("asked about %+v", w.guard.asked(operation.Push))
	}
}
