package git_test

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/git"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

func TestGitPassesAllThatIsObserved(t *testing.T) {
	protocoltest.Observes(t, git.New(git.Options{}))
}

// noForce refuses a push that rewrites main, after a person was asked.
func noForce(_ context.Context, op *operation.Operation) protocol.Decision {
	if op.Git != nil {
		for _, r := range op.Git.Refs {
			if r.Forced == operation.Certainly && r.Name == "refs/heads/main" {
				return protocol.Decision{Approval: 7, Rule: "no-force", Decider: "grace", Reason: "History stays."}
			}
		}
	}
	return protocol.Decision{Effect: protocol.Allow}
}

// A repository over HTTPS, with git's own server and client: pushed to, cloned,
// rewound, in each protocol and version of HTTP.
func TestPushAndFetch(t *testing.T) {
	for name, way := range map[string]struct {
		options []string
		http2   bool // at the server
	}{
		"protocol v2 over HTTP/2":               {[]string{"-c", "protocol.version=2"}, true},
		"protocol v0 over HTTP/1.1":             {[]string{"-c", "protocol.version=0", "-c", "http.version=HTTP/1.1"}, true},
		"protocol v1 over HTTP/1.1":             {[]string{"-c", "protocol.version=1", "-c", "http.version=HTTP/1.1"}, true},
		"to a server that knows no HTTP/2":      {nil, false},
		"over HTTP/1.1 to one that knows no /2": {[]string{"-c", "http.version=HTTP/1.1"}, false},
	} {
		options := way.options
		t.Run(name, func(t *testing.T) {
			w := newWorldOver(t, way.http2, noForce)
			with := func(args ...string) []string { return append(options[:len(options):len(options)], args...) }
			w.commit(t, "one")
			w.commit(t, "two")
			w.mustGit(t, "work", with("push", "-q", w.url(), "main")...)
			if push := w.last(t, operation.Push); len(push.Op.Git.Refs) != 1 || push.Op.Git.Refs[0].Kind != operation.RefCreate ||
				push.Op.Git.Repository != "/shop.git" || push.Op.Parent == 0 || push.Outcome.Status != protocol.OK || push.Streams["stdin"] == "" {
				t.Errorf("the push was asked about as %+v, and recorded as %+v", push.Op.Git, push.Outcome)
			}
			if request := w.last(t, operation.Request); request.Op.HTTP.Host != "127.0.0.1" {
				t.Errorf("the host of a request is %q", request.Op.HTTP.Host)
			}
			w.mustGit(t, "", with("clone", "-q", w.url(), "clone")...)
			w.commit(t, "three")
			w.mustGit(t, "work", with("push", "-q", w.url(), "main")...)
			if push := w.last(t, operation.Push); push.Op.Git.Refs[0].Forced != operation.CertainlyNot {
				t.Errorf("what keeps its history is forced: %q", push.Op.Git.Refs[0].Forced)
			}
			w.mustGit(t, "clone", with("pull", "-q", "--ff-only")...)
			main := w.mustGit(t, "srv/shop.git", "rev-parse", "main")
			if got := w.mustGit(t, "clone", "rev-parse", "HEAD"); got != main {
				t.Errorf("the clone is at %s, the server at %s", got, main)
			}
			if fetch := w.last(t, operation.Fetch); fetch.Outcome.Status != protocol.OK || fetch.Streams["response"] == "" || !fetch.Op.ReadOnly {
				t.Errorf("the fetch was recorded as %+v", fetch.Outcome)
			}
			w.mustGit(t, "work", "commit", "-q", "--amend", "--allow-empty", "-m", "other words")
			out, code := w.git(t, "work", with("push", "--force", w.url(), "main", "HEAD:new")...)
			for _, text := range []string{
				"remote: sluice: waiting for approval #7",
				"! [remote rejected] main -> main (sluice: refused by rule \"no-force\", approval #7, decided by grace: History stays.)",
				"! [remote rejected] HEAD -> new (",
			} {
				if !strings.Contains(out, text) {
					t.Errorf("git did not print %q", text)
				}
			}
			if code != 1 {
				t.Errorf("git ended with %d:\n%s", code, out)
			}
			if got := w.mustGit(t, "srv/shop.git", "rev-parse", "main"); got != main {
				t.Errorf("main moved to %s", got)
			}
			w.mustGit(t, "work", with("push", "-q", w.url(), "HEAD:new")...)
			w.clean(t)
			w.tellsLengths(t)
		})
	}
}

// clean reports what of a credential went where it must not.
func (w *world) clean(t *testing.T) {
	t.Helper()
	for _, e := range w.guard.Entries() {
		if text := e.Text + string(e.Op.Bytes); strings.Contains(text, jobPassword) || strings.Contains(text, serverPassword) {
			t.Errorf("a record holds a password: %q", text)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.seen {
		if _, password, _ := r.BasicAuth(); password != serverPassword {
			t.Errorf("the server was sent the password %q", password)
		}
		if !strings.HasSuffix(r.Header.Get("User-Agent"), " sluice/s1") {
			t.Errorf("the server was sent the user agent %q", r.Header.Get("User-Agent"))
		}
	}
}

// tellsLengths reports small requests that a server of HTTP/1.1 may not take.
func (w *world) tellsLengths(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.seen {
		if r.ContentLength < 0 {
			t.Errorf("%s %s did not tell its length", r.Method, r.URL.Path)
		}
	}
}

// A large push comes in chunks, and is larger than what is held in memory.
func TestLargePush(t *testing.T) {
	noise := make([]byte, 24<<20)
	state := uint32(1)
	for i := range noise {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	for _, http2 := range []bool{true, false} {
		w := newWorldOver(t, http2, nil)
		if err := os.WriteFile(w.path("work/noise"), noise, 0o600); err != nil {
			t.Fatal(err)
		}
		w.mustGit(t, "work", "add", "noise")
		w.commit(t, "noise")
		w.mustGit(t, "work", "push", "-q", w.url(), "main")
		if push := w.last(t, operation.Push); len(push.Streams["stdin"]) < len(noise)/2 || push.Streams["objects"] == "" {
			t.Errorf("of the pack %d bytes were recorded", len(push.Streams["stdin"]))
		}
		w.mustGit(t, "", "clone", "-q", w.url(), "clone")
		w.clean(t)
	}
}

// What a rule refuses never reaches the server's service.
func TestRefusals(t *testing.T) {
	var refused atomic.Value // an operation.Kind
	w := newWorld(t, func(_ context.Context, op *operation.Operation) protocol.Decision {
		if refused.Load() == op.Kind {
			return protocol.Decision{Rule: "closed", Reason: "Not today."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	w.commit(t, "one")
	w.mustGit(t, "work", "push", "-q", w.url(), "main")
	for kind, want := range map[operation.Kind]string{
		operation.Fetch:   `fatal: remote error: sluice: refused by rule "closed": Not today.`,
		operation.Request: `remote: sluice: refused by rule "closed": Not today.`,
		operation.Connect: `remote: sluice: refused by rule "closed": Not today.`,
	} {
		refused.Store(kind)
		w.mu.Lock()
		w.seen = nil
		w.mu.Unlock()
		out, code := w.git(t, "", "clone", "-q", w.url(), "clone")
		if code == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: git ended with %d:\n%s", kind, code, out)
		}
		w.mu.Lock()
		if n := len(w.seen); kind == operation.Fetch && n != 2 || kind != operation.Fetch && n != 0 {
			t.Errorf("%s: %d requests reached the server", kind, n) // of a fetch what the server has, and its references
		}
		w.mu.Unlock()
	}
	w.clean(t)
}
