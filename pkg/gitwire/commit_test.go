package gitwire_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/gitwire"
)

// A commit never shows more parents here than git sees: what git does not see
// is not kept.
func TestParentsAreThoseThatGitSees(t *testing.T) {
	w := newWorld(t, "sha1", "")
	tree := w.git(w.remote, "rev-parse", "main^{tree}")
	who := "author Ada <ada@example.com> 1 +0000\ncommitter Ada <ada@example.com> 1 +0000\n"
	parent := "parent " + w.c1 + "\n"
	for name, content := range map[string]string{
		"plain":                        "tree " + tree + "\n" + parent + who + "\nwords\n",
		"no parent":                    "tree " + tree + "\n" + who + "\nwords\n",
		"cut in the parent":            "tree " + tree + "\nparent " + w.c1,
		"nothing after the parent":     "tree " + tree + "\n" + parent,
		"no author":                    "tree " + tree + "\n" + parent + "\nwords\n",
		"parent after the author":      "tree " + tree + "\n" + who + parent + "\nwords\n",
		"parent in the message":        "tree " + tree + "\n" + who + "\n" + parent,
		"parent before the tree":       parent + "tree " + tree + "\n" + who + "\nwords\n",
		"a word between":               "tree " + tree + "\nx y\n" + parent + who + "\nwords\n",
		"a space after the parent":     "tree " + tree + "\nparent " + w.c1 + " \n" + who + "\nwords\n",
		"upper case":                   "tree " + tree + "\nparent " + strings.ToUpper(w.c1) + "\n" + who + "\nwords\n",
		"a carriage return":            "tree " + tree + "\nparent " + w.c1 + "\r\n" + who + "\nwords\n",
		"a NUL":                        "tree " + tree + "\nparent " + w.c1 + "\x00\n" + who + "\nwords\n",
		"two":                          "tree " + tree + "\n" + parent + parent + who + "\nwords\n",
		"a parent in continued header": "tree " + tree + "\n" + who + "gpgsig x\n " + parent + "\nwords\n",
	} {
		t.Run(name, func(t *testing.T) {
			hash := exec.Command("git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
			hash.Dir, hash.Env, hash.Stdin = w.remote, environment(), strings.NewReader(content)
			id, err := hash.Output()
			if err != nil {
				t.Fatal(err)
			}
			parents, ok := gitwire.ParseCommit([]byte(content))
			if !ok {
				return // such a commit proves nothing
			}
			seen, err := w.run(w.remote, "rev-list", "--parents", "-1", strings.TrimSpace(string(id)))
			if err != nil {
				t.Fatalf("git cannot read what was read here: %s", seen)
			}
			if theirs := strings.Fields(seen)[1:]; !slices.Equal(slices.Compact(theirs), slices.Compact(parents)) {
				t.Errorf("git sees %q, and %q was read here", theirs, parents)
			}
		})
	}
}
