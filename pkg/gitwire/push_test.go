package gitwire_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// worlds are the object formats that pushes run with, and how the server may be
// asked. The matrix takes the two that differ most: its time is git's.
var worlds = []struct{ name, format, version string }{
	{name: "sha1", format: "sha1"},
	{name: "sha256 asked in v0", format: "sha256", version: "version=0"},
}

// world is a repository of three commits with a working copy.
type world struct {
	*host
	work       string
	c1, c2, c3 string
}

// templates are made once for each format: most of a test's time is git's.
var templates sync.Map // of format to func() string

func template(t *testing.T, format string) string {
	t.Helper()
	made, _ := templates.LoadOrStore(format, sync.OnceValue(func() string {
		h := &host{t: t, dir: filepath.Join(shared, format)}
		remote, work := filepath.Join(h.dir, "shop.git"), filepath.Join(h.dir, "work")
		h.git("", "init", "-q", "--bare", "-b", "main", "--object-format="+format, remote)
		h.git("", "init", "-q", "-b", "main", "--object-format="+format, work)
		h.git(remote, "config", "receive.denyDeleteCurrent", "ignore")
		h.git(remote, "config", "receive.advertisePushOptions", "true")
		h.git(remote, "config", "receive.certNonceSeed", "seed")
		for _, name := range []string{"one", "two", "three"} {
			h.commit(work, name)
		}
		h.git(work, "tag", "light")
		h.git(work, "tag", "-a", "heavy", "-m", "a tag")
		h.git(work, "push", "-q", remote, "HEAD:refs/heads/main", "HEAD:refs/heads/side", "light", "heavy")
		return h.dir
	}))
	return made.(func() string)()
}

func newWorld(t *testing.T, format, version string) *world {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), guard: &guard{}, version: version}
	h.remote = filepath.Join(h.dir, "shop.git")
	if err := os.CopyFS(h.dir, os.DirFS(template(t, format))); err != nil {
		t.Fatal(err)
	}
	h.listen()
	w := &world{host: h, work: filepath.Join(h.dir, "work")}
	h.git(w.work, "remote", "add", "origin", h.url())
	h.git(w.work, "fetch", "-q", h.remote, "refs/heads/*:refs/remotes/origin/*")
	ids := strings.Fields(h.git(w.work, "rev-list", "HEAD"))
	w.c3, w.c2, w.c1 = ids[0], ids[1], ids[2]
	return w
}

// want is one ref as policy must have seen it.
type want struct {
	name   string
	kind   operation.RefChange
	forced operation.Certainty
}

func (w *world) expect(t *testing.T, refs ...want) asked {
	t.Helper()
	got := w.guard.last(t)
	if got.Kind != operation.Push || !got.Parsed || got.Git.Repository != w.remote {
		t.Fatalf("asked about %s of %q, parsed %v", got.Kind, got.Git.Repository, got.Parsed)
	}
	seen := map[string]operation.GitRef{}
	for _, r := range got.Git.Refs {
		seen[r.Name] = r
	}
	if len(seen) != len(refs) {
		t.Errorf("policy saw %+v, want %d refs", got.Git.Refs, len(refs))
	}
	for _, r := range refs {
		if s := seen[r.name]; s.Kind != r.kind || s.Forced != r.forced {
			t.Errorf("%s: policy saw %q, forced %q, want %q, forced %q\n%s", r.name, s.Kind, s.Forced, r.kind, r.forced, got.text)
		}
	}
	return got
}

const (
	create = operation.RefCreate
	update = operation.RefUpdate
	remove = operation.RefDelete
	no     = operation.CertainlyNot
	yes    = operation.Certainly
	maybe  = operation.Uncertain
)

func TestPushMatrix(t *testing.T) {
	tests := []struct {
		name string
		push func(w *world) []string // prepares, and returns what to push
		want []want
		lost func(w *world) []string // of the first ref
	}{
		{
			name: "fast forward",
			push: func(w *world) []string { w.commit(w.work, "four"); return []string{"HEAD:main"} },
			want: []want{{"refs/heads/main", update, no}},
		},
		{
			name: "forced although it is a fast forward",
			push: func(w *world) []string { w.commit(w.work, "four"); return []string{"--force", "HEAD:main"} },
			want: []want{{"refs/heads/main", update, no}},
		},
		{
			name: "amended",
			push: func(w *world) []string {
				w.git(w.work, "commit", "-q", "--amend", "-m", "other words")
				return []string{"--force", "HEAD:main"}
			},
			want: []want{{"refs/heads/main", update, yes}},
			lost: func(w *world) []string { return []string{w.c3} },
		},
		{
			name: "amended with a plus",
			push: func(w *world) []string {
				w.git(w.work, "commit", "-q", "--amend", "-m", "other words")
				return []string{"+HEAD:main"}
			},
			want: []want{{"refs/heads/main", update, yes}},
		},
		{
			name: "amended with a lease",
			push: func(w *world) []string {
				w.git(w.work, "commit", "-q", "--amend", "-m", "other words")
				return []string{"--force-with-lease=main:" + w.c3, "HEAD:main"}
			},
			want: []want{{"refs/heads/main", update, yes}},
		},
		{
			name: "rewound, which needs no object",
			push: func(w *world) []string { return []string{"--force", w.c1 + ":main"} },
			want: []want{{"refs/heads/main", update, yes}},
			lost: func(w *world) []string { return []string{w.c3, w.c2} },
		},
		{
			name: "forward to what the server has",
			push: func(w *world) []string {
				w.git(w.remote, "update-ref", "refs/heads/main", w.c1)
				return []string{w.c3 + ":main"}
			},
			want: []want{{"refs/heads/main", update, no}},
		},
		{
			name: "rewound to what a replacement gives the old head as a parent",
			push: func(w *world) []string {
				other := w.git(w.work, "commit-tree", "-p", w.c1, "-p", w.c3, "-m", "both", w.c1+"^{tree}")
				w.git(w.work, "push", "-q", "origin", other+":refs/replace/"+w.c1)
				return []string{"--force", w.c1 + ":main"}
			},
			want: []want{{"refs/heads/main", update, yes}},
			lost: func(w *world) []string { return []string{w.c3, w.c2} },
		},
		{
			name: "an unrelated history",
			push: func(w *world) []string {
				w.git(w.work, "checkout", "-q", "--orphan", "other")
				w.commit(w.work, "alone")
				return []string{"--force", "HEAD:main"}
			},
			want: []want{{"refs/heads/main", update, yes}},
			lost: func(w *world) []string { return []string{w.c3, w.c2, w.c1} },
		},
		{
			name: "a merge that keeps the old head as its second parent",
			push: func(w *world) []string {
				w.git(w.work, "checkout", "-q", "-b", "topic", w.c1)
				w.commit(w.work, "topic")
				w.git(w.work, "merge", "-q", "--no-ff", "-m", "merge", w.c3)
				return []string{"HEAD:main"}
			},
			want: []want{{"refs/heads/main", update, no}},
		},
		{
			name: "a branch on top of the old head's parent's merge",
			push: func(w *world) []string {
				w.git(w.work, "checkout", "-q", "-b", "topic", w.c2)
				w.commit(w.work, "topic")
				return []string{"--force", "HEAD:main"}
			},
			want: []want{{"refs/heads/main", update, yes}},
			lost: func(w *world) []string { return []string{w.c3} },
		},
		{
			name: "a new branch and a deleted one",
			push: func(w *world) []string { w.commit(w.work, "four"); return []string{"HEAD:new", ":side"} },
			want: []want{{"refs/heads/new", create, no}, {"refs/heads/side", remove, yes}},
		},
		{
			name: "deleted with --delete",
			push: func(_ *world) []string { return []string{"--delete", "main"} },
			want: []want{{"refs/heads/main", remove, yes}},
		},
		{
			name: "everything mirrored",
			push: func(w *world) []string {
				w.git(w.work, "checkout", "-q", "-b", "elsewhere")
				w.git(w.work, "update-ref", "-d", "refs/remotes/origin/main")
				w.git(w.work, "branch", "-f", "main", w.c1)
				return []string{"--mirror"}
			},
			want: []want{{"refs/heads/main", update, yes}, {"refs/heads/elsewhere", create, no}, {"refs/heads/side", remove, yes}, {"refs/remotes/origin/side", create, no}},
		},
		{
			name: "a light tag moved back",
			push: func(w *world) []string {
				w.git(w.work, "tag", "-f", "light", w.c1)
				return []string{"--force", "light"}
			},
			want: []want{{"refs/tags/light", update, yes}},
		},
		{
			name: "a light tag moved on",
			push: func(w *world) []string {
				w.commit(w.work, "four")
				w.git(w.work, "tag", "-f", "light")
				return []string{"--force", "light"}
			},
			want: []want{{"refs/tags/light", update, no}},
		},
		{
			name: "an annotated tag moved on",
			push: func(w *world) []string {
				w.commit(w.work, "four")
				w.git(w.work, "tag", "-f", "-a", "heavy", "-m", "again")
				return []string{"--force", "heavy"}
			},
			want: []want{{"refs/tags/heavy", update, no}},
		},
		{
			name: "an annotated tag moved back",
			push: func(w *world) []string {
				w.git(w.work, "tag", "-f", "-a", "heavy", "-m", "again", w.c1)
				return []string{"--force", "heavy"}
			},
			want: []want{{"refs/tags/heavy", update, yes}},
			lost: func(w *world) []string { return []string{w.c3, w.c2} },
		},
		{
			name: "an annotated tag in place of a light one",
			push: func(w *world) []string {
				w.git(w.work, "tag", "-f", "-a", "light", "-m", "now heavy", w.c3)
				return []string{"--force", "light"}
			},
			want: []want{{"refs/tags/light", update, no}},
		},
		{
			name: "a tag of a blob in place of a commit's",
			push: func(w *world) []string {
				w.git(w.work, "tag", "-f", "light", w.git(w.work, "rev-parse", "HEAD:one"))
				return []string{"--force", "light"}
			},
			want: []want{{"refs/tags/light", update, yes}},
		},
		{
			name: "atomic, one forced",
			push: func(w *world) []string {
				w.commit(w.work, "four")
				return []string{"--atomic", "--force", "HEAD:main", w.c1 + ":side"}
			},
			want: []want{{"refs/heads/main", update, no}, {"refs/heads/side", update, yes}},
		},
		{
			name: "notes and a ref of its own kind",
			push: func(w *world) []string {
				w.git(w.work, "notes", "add", "-m", "a note")
				w.git(w.work, "update-ref", "refs/meta/config", w.c1)
				return []string{"refs/notes/commits", "refs/meta/config"}
			},
			want: []want{{"refs/notes/commits", create, no}, {"refs/meta/config", create, no}},
		},
		{
			name: "a full pack where a thin one would do",
			push: func(w *world) []string { w.commit(w.work, "four"); return []string{"--no-thin", "HEAD:main"} },
			want: []want{{"refs/heads/main", update, no}},
		},
	}
	for _, in := range worlds {
		for _, test := range tests {
			t.Run(in.name+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, in.format, in.version)
				args := append([]string{"push", "-q", "origin"}, test.push(w)...)
				w.git(w.work, args...)
				got := w.expect(t, test.want...)
				if got.outcome.Status != protocol.OK {
					t.Errorf("outcome %+v", got.outcome)
				}
				for _, r := range got.Git.Refs {
					if at := w.at(r.Name); at != r.New {
						t.Errorf("%s is at %q, and policy saw that it would be at %q", r.Name, at, r.New)
					}
				}
				if test.lost == nil {
					return
				}
				if lost, want := got.Git.Refs[0].Lost, test.lost(w); strings.Join(lost, " ") != strings.Join(want, " ") {
					t.Errorf("lost %v, want %v", lost, want)
				}
			})
		}
	}
}
