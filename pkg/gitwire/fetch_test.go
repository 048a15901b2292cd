package gitwire_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// versions are what a client can ask for, and git's default.
var versions = []string{"0", "1", "2"}

func TestFetchIsOneOperation(t *testing.T) {
	for _, in := range worlds {
		for _, version := range versions {
			t.Run(in.name+"/v"+version, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, in.format, "")
				clone := filepath.Join(w.dir, "clone")
				w.git("", "-c", "protocol.version="+version, "clone", "-q", w.url(), clone)
				if at := w.git(clone, "rev-parse", "HEAD"); at != w.c3 {
					t.Errorf("the clone is at %s, want %s", at, w.c3)
				}
				got := w.guard.last(t)
				if len(w.guard.asked) != 1 || got.Kind != operation.Fetch || !got.Parsed || !got.ReadOnly || got.Git.Repository != w.remote {
					t.Fatalf("asked %d times; last about %+v", len(w.guard.asked), got.Git)
				}
				if !strings.Contains(got.text, "want "+w.c3) {
					t.Errorf("what is wanted is not recorded:\n%s", got.text)
				}
				if got.outcome.Status != protocol.OK || !strings.Contains(string(got.response), "PACK") {
					t.Errorf("outcome %+v, %d bytes", got.outcome, len(got.response))
				}

				next := w.commit(w.work, "four")
				w.git(w.work, "push", "-q", w.remote, "HEAD:main")
				w.git(clone, "-c", "protocol.version="+version, "pull", "-q", "--ff-only")
				if at := w.git(clone, "rev-parse", "HEAD"); at != next {
					t.Errorf("after the pull the clone is at %s, want %s", at, next)
				}
			})
		}
	}
}

func TestDeniedFetchGetsNoObject(t *testing.T) {
	for _, version := range versions {
		t.Run("v"+version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "sha1", "")
			w.guard.decide = func(*operation.Operation) protocol.Decision {
				return protocol.Decision{Rule: "no-clones", Reason: "Not from here."}
			}
			out, err := w.run("", "-c", "protocol.version="+version, "clone", "-q", w.url(), filepath.Join(w.dir, "clone"))
			if exitCode(err) != 128 || !strings.Contains(out, `fatal: remote error: sluice: refused by rule "no-clones": Not from here.`) {
				t.Errorf("git ended with %v\n%s", err, out)
			}
			if got := w.guard.last(t); strings.Contains(string(got.response), "PACK") || got.outcome.Status != protocol.Refused {
				t.Errorf("outcome %+v", got.outcome)
			}
		})
	}
}

func TestListingReferencesIsNoFetch(t *testing.T) {
	for _, version := range versions {
		t.Run("v"+version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "sha1", "")
			if out := w.git("", "-c", "protocol.version="+version, "ls-remote", w.url(), "main"); !strings.HasPrefix(out, w.c3) {
				t.Errorf("git ls-remote printed %q", out)
			}
			if len(w.guard.asked) > 0 {
				t.Errorf("asked about %+v", w.guard.asked)
			}
		})
	}
}

func TestArchiveIsAFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	if out := w.git("", "archive", "--remote="+w.url(), "main"); !strings.Contains(out, "three") {
		t.Errorf("git archive printed %d bytes", len(out))
	}
	if got := w.guard.last(t); got.Kind != operation.Fetch || !strings.Contains(got.text, "argument main") {
		t.Errorf("asked about %s:\n%s", got.Kind, got.text)
	}
	w.guard.decide = func(*operation.Operation) protocol.Decision { return protocol.Decision{Rule: "no-archives"} }
	out, err := w.run("", "archive", "--remote="+w.url(), "main")
	if err == nil || !strings.Contains(out, `refused by rule "no-archives"`) {
		t.Errorf("git ended with %v\n%s", err, out)
	}
}
