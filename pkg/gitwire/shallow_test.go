package gitwire_test

import (
	"os"
	"path/filepath"
	"testing"
)

// A server that takes shallow pushes ends its own history where the client's
// ends: a commit on top of the old head then loses all that is below.
func TestShallowRootsKeepNothing(t *testing.T) {
	for _, in := range worlds {
		t.Run(in.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, in.format, in.version)
			w.git(w.remote, "config", "receive.shallowUpdate", "true")
			cut := func(id string) {
				if err := os.WriteFile(filepath.Join(w.work, ".git", "shallow"), []byte(id+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// One that comes with the pack.
			root := w.commit(w.work, "root")
			cut(root)
			w.git(w.work, "push", "-q", "--force", "origin", "HEAD:main")
			w.expect(t, want{"refs/heads/main", update, maybe})
			if kept := w.git(w.remote, "rev-list", "--count", "main"); kept != "1" {
				t.Fatalf("the server has %s commits: nothing was cut off", kept)
			}
		})
		t.Run(in.name+", which the server has", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, in.format, in.version)
			w.git(w.remote, "config", "receive.shallowUpdate", "true")
			root := w.commit(w.work, "root")
			w.git(w.work, "push", "-q", "origin", "HEAD:refs/heads/lost")
			w.git(w.work, "push", "-q", "origin", ":refs/heads/lost")
			head := w.commit(w.work, "head")
			if err := os.WriteFile(filepath.Join(w.work, ".git", "shallow"), []byte(root+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.git(w.work, "push", "-q", "--force", "origin", head+":main")
			if got := w.guard.last(t).Git.Refs[0]; got.Forced == no {
				t.Errorf("policy saw %+v", got)
			}
			if kept := w.git(w.remote, "rev-list", "--count", "main"); kept != "2" {
				t.Fatalf("the server has %s commits: nothing was cut off", kept)
			}
		})
	}
}

// What a ref of the server leads to stays, wherever the client's own history ends.
func TestShallowClonesKeepWhatTheServerHas(t *testing.T) {
	for _, in := range worlds {
		t.Run(in.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, in.format, in.version)
			w.git(w.remote, "update-ref", "refs/heads/side", w.c1)
			w.git(w.remote, "update-ref", "refs/heads/main", w.c2)
			w.git(w.remote, "tag", "-d", "light", "heavy")
			shallow := filepath.Join(w.dir, "shallow")
			w.git("", "clone", "-q", "--depth", "1", w.url(), shallow)
			w.git(w.remote, "update-ref", "refs/heads/main", w.c3) // what the clone ends at is no head any more
			w.commit(shallow, "four")
			w.git(shallow, "push", "-q", "--force", "origin", "HEAD:side") // it cannot know
			forced := no
			if in.version == "version=0" {
				forced = maybe // the server cannot be asked about what no ref is at
			}
			w.expect(t, want{"refs/heads/side", update, forced})
		})
	}
}
