package gitwire_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/gitwire"
)

// many makes commits that share much, so that git stores deltas.
func (w *world) many(commits, files int) {
	w.t.Helper()
	long := strings.Repeat("a line of a file that is long enough\n", 400)
	for c := range commits {
		for f := range files {
			text := fmt.Sprintf("%s%d of %d\n%s", long, c, f, long)
			if err := os.WriteFile(filepath.Join(w.work, fmt.Sprint("file-", f)), []byte(text), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
		w.git(w.work, "add", ".")
		w.git(w.work, "commit", "-q", "-m", fmt.Sprint("commit ", c))
	}
}

// between are the objects that a revision has and another has not, as the record
// should have them.
func (w *world) between(revisions ...string) map[string]bool {
	w.t.Helper()
	listed := w.git(w.work, append([]string{"rev-list", "--objects", "--no-object-names"}, revisions...)...)
	cmd := exec.Command("git", "cat-file", "--batch-check=%(objecttype) %(objectname) %(objectsize)")
	cmd.Dir, cmd.Env, cmd.Stdin = w.work, environment(), strings.NewReader(listed)
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		want[line] = true
	}
	return want
}

// Every object of a push is recorded by the id and the size that git itself
// gives it, whether it came in full or as a delta.
func TestEveryObjectOfAPushIsNamed(t *testing.T) {
	for _, test := range worlds {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.format, test.version)
			w.many(20, 30)
			w.git(w.work, "push", "-q", "origin", "HEAD:refs/heads/other")
			if open := w.named(t, "HEAD", "^origin/main"); open > 0 {
				t.Errorf("%d objects have no name", open)
			}
			w.git(w.work, "branch", "-q", "before")
			w.many(3, 35)
			w.git(w.work, "push", "-q", "origin", "HEAD:refs/heads/other")
			if open := w.named(t, "HEAD", "^before"); open == 0 {
				t.Error("no object is a delta of what the server has")
			}
			// Nothing that the server has: nothing is left open.
			w.git(w.work, "checkout", "-q", "--orphan", "new")
			w.git(w.work, "commit", "-q", "-m", "anew")
			w.many(5, 40)
			w.git(w.work, "push", "-q", "--no-thin", "origin", "HEAD:refs/heads/new")
			if open := w.named(t, "HEAD"); open > 0 {
				t.Errorf("%d objects have no name", open)
			}
		})
	}
}

// named compares what is recorded of the last push with what it brought, and
// returns how many objects are deltas of what the server has.
func (w *world) named(t *testing.T, revisions ...string) (open int) {
	t.Helper()
	got, want := w.guard.last(t), w.between(revisions...)
	for line := range strings.Lines(string(got.objects)) {
		kind, rest, _ := strings.Cut(line, " ")
		base, _, _ := strings.Cut(rest, " ")
		switch {
		case want[line]:
			delete(want, line)
		case kind == "delta" && w.has(base):
			open++
		default:
			t.Errorf("recorded %q", line)
		}
	}
	if len(want) != open {
		t.Errorf("the names of %d objects are missing, and %d are deltas of what the server has: %.500v", len(want), open, want)
	}
	return open
}

// has reports whether the server has an object.
func (w *world) has(name string) bool {
	_, err := w.run(w.remote, "cat-file", "-e", name)
	return err == nil
}

func TestNamesOfDeltasThatCannotBeMade(t *testing.T) {
	base := strings.Repeat("base\n", 100)
	second, third := base+"second\n", base+"second\nthird\n"
	elsewhere := objectID("blob", "elsewhere")
	var p packer
	blob := p.object(3, base)
	one := p.add(6, len(deltaOf(base, second)), p.back(blob), deltaOf(base, second))
	p.add(6, len(deltaOf(second, third)), p.back(one), deltaOf(second, third))
	thin := p.add(7, len(deltaOf(base, second)), unhex(elsewhere), deltaOf(base, second))
	p.add(6, len(deltaOf(second, third)), p.back(thin), deltaOf(second, third))
	// By the name of an object that is itself made of a delta, before it stands there.
	fourth := third + "fourth\n"
	p.add(7, len(deltaOf(third, fourth)), unhex(objectID("blob", third)), deltaOf(third, fourth))
	broken := deltaOf(base, second)
	broken[len(broken)-1] ^= 1
	broken = append(broken, 0)
	p.add(6, len(broken), p.back(blob), broken)
	got, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	name := func(content string) string {
		return fmt.Sprintf("blob %s %d\n", objectID("blob", content), len(content))
	}
	want := name(base) + name(second) + name(third) +
		fmt.Sprintf("delta %s %d\ndelta %s %d\n", elsewhere, len(second), elsewhere, len(third)) +
		name(fourth) + fmt.Sprintf("delta %s %d\n", objectID("blob", base), len(second))
	if got.Names != want {
		t.Errorf("got\n%swant\n%s", got.Names, want)
	}
	short, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{Names: 2})
	if err != nil || short.Names != name(base)+name(second) || short.Objects != p.count {
		t.Errorf("got %v\n%s", err, short.Names)
	}
}

// However little a delta takes to say much, naming objects has an end.
func TestNamingBombsHasAnEnd(t *testing.T) {
	var p packer
	base := strings.Repeat("x", 1<<20)
	at := p.object(3, base)
	bomb := append(varint(len(base)), varint(7<<20)...)
	for range 7 << 20 >> 16 {
		bomb = append(bomb, 0x80) // 64 KiB of the base
	}
	for range 5000 {
		p.add(6, len(bomb), p.back(at), bomb)
	}
	// One on top of the other.
	grown := append(varint(7<<20), varint(7<<20)...)
	for range 7 << 20 >> 16 {
		grown = append(grown, 0x80)
	}
	at = p.add(6, len(bomb), p.back(at), bomb)
	for range 5000 {
		at = p.add(6, len(grown), p.back(at), grown)
	}
	began := time.Now()
	got, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{})
	if err != nil || !strings.Contains(got.Names, "delta ") || strings.Count(got.Names, "\n") != p.count {
		t.Fatalf("%v, %d bytes of names", err, len(got.Names))
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// BenchmarkReadPack reads a pack of this repository's own history, with the
// names that people are shown, with all that are in full, and with all.
func BenchmarkReadPack(b *testing.B) {
	list, err := exec.Command("git", "rev-list", "--objects", "--no-object-names", "HEAD").Output()
	if err != nil {
		b.Skip("this is no repository")
	}
	cmd := exec.Command("git", "pack-objects", "--stdout", "--delta-base-offset", "-q")
	cmd.Stdin = bytes.NewReader(list)
	pack, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	for name, names := range map[string]int{"few": 256, "all": 0} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(pack)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := gitwire.ReadOnly(bytes.NewReader(pack), gitwire.Limits{Names: names}, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("all, and deltas", func(b *testing.B) {
		b.SetBytes(int64(len(pack)))
		for b.Loop() {
			left, err := gitwire.ReadOnly(bytes.NewReader(pack), gitwire.Limits{}, true)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(left), "unnamed")
		}
	})
}
