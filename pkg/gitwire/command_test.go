package gitwire_test

import (
	"os/exec"
	"testing"

	"github.com/sluicegate/sluice/pkg/gitwire"
)

func TestParseCommandTakesServicesOnly(t *testing.T) {
	plain := []struct {
		line string
		want gitwire.Command
	}{
		{`git-receive-pack '/srv/git/shop.git'`, gitwire.Command{Service: gitwire.ReceivePack, Repository: "/srv/git/shop.git"}},
		{`git receive-pack '/srv/git/shop.git'`, gitwire.Command{Service: gitwire.ReceivePack, Repository: "/srv/git/shop.git"}},
		{`git-upload-pack 'shop.git'`, gitwire.Command{Service: gitwire.UploadPack, Repository: "shop.git"}},
		{`git-upload-pack '~ada/shop.git'`, gitwire.Command{Service: gitwire.UploadPack, Repository: "~ada/shop.git"}},
		{`git-upload-archive "/a b"`, gitwire.Command{Service: gitwire.UploadArchive, Repository: "/a b"}},
		{`  git-upload-pack   /srv/shop.git  `, gitwire.Command{Service: gitwire.UploadPack, Repository: "/srv/shop.git"}},
		{`'git-upload-pack' /srv/'shop'".git"`, gitwire.Command{Service: gitwire.UploadPack, Repository: "/srv/shop.git"}},
		{`git-upload-pack '/it'\''s'\!`, gitwire.Command{Service: gitwire.UploadPack, Repository: "/it's!"}},
		{`git-upload-pack /a\ b`, gitwire.Command{Service: gitwire.UploadPack, Repository: "/a b"}},
		{`/usr/lib/git-core/git-receive-pack '/srv/shop.git'`, gitwire.Command{Service: gitwire.ReceivePack, Repository: "/srv/shop.git"}},
		{`git-receive-pack '/srv/günther.git'`, gitwire.Command{Service: gitwire.ReceivePack, Repository: "/srv/günther.git"}},
	}
	for _, test := range plain {
		if got, ok := gitwire.ParseCommand(test.line); !ok || got != test.want {
			t.Errorf("%s: %+v, %v", test.line, got, ok)
		}
		if again, ok := gitwire.ParseCommand(test.want.String()); !ok || again != test.want {
			t.Errorf("%s does not read as what it was written from: %+v", test.want, again)
		}
	}
	for _, line := range []string{
		"", "git", "git-receive-pack", "git-receive-pack ''", "git-receive-pack a b", "git-shell -c 'git-receive-pack a'",
		"git-receive-pack --stateless-rpc a", "git-receive-pack '-a'", "git -c a=b receive-pack a", "git --exec-path=/tmp receive-pack a",
		"GIT_DIR=/x git-receive-pack a", "env git-receive-pack a", "git-receive-pack a; id", "git-receive-pack a;id", "git-receive-pack a&",
		"git-receive-pack a|id", "git-receive-pack a && id", "git-receive-pack $(id)", "git-receive-pack `id`", `git-receive-pack "$(id)"`,
		"git-receive-pack \"`id`\"", "git-receive-pack $HOME", `git-receive-pack "$HOME"`, "git-receive-pack ~ada/x", "git-receive-pack *",
		"git-receive-pack a?", "git-receive-pack [a]", "git-receive-pack {a,b}", "git-receive-pack a >b", "git-receive-pack a <b",
		"git-receive-pack 'a\nid'", "git-receive-pack a\nid", "git-receive-pack a\tb", "git-receive-pack 'a", `git-receive-pack "a`,
		`git-receive-pack a\`, `git-receive-pack 'a\' id`, "git-receive-pack a #b", "(git-receive-pack a)", "git-receive-pack a\x00b",
		"git-RECEIVE-PACK a", "git-receive-pack.exe a", "git-upload-pack2 a", "git receive-pack", "exec git-receive-pack a", "!git-receive-pack a",
		`git-receive-pack "a!b"`, "git-receive-pack a\rb", "sh -c 'git-receive-pack a'", "git-receive-pack a=b; id",
		"git-receive-pack '/srv/../srv/shop.git'", "git-receive-pack '//srv/shop.git'", "git-receive-pack '/srv/shop.git/'", "git-receive-pack /srv/./shop.git",
		"git-receive-pack ../git/shop.git", "git-receive-pack ./shop.git",
	} {
		if got, ok := gitwire.ParseCommand(line); ok {
			t.Errorf("%q was taken for %+v", line, got)
		}
	}
}

// What a command line is taken for is what a shell runs.
func FuzzParseCommand(f *testing.F) {
	f.Add(`git-receive-pack '/srv/it'\''s.git'`)
	f.Add(`git upload-pack "/a b"/c\ d`)
	shell, err := exec.LookPath("sh")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got, ok := gitwire.ParseCommand(line)
		if !ok {
			return
		}
		words, known := gitwire.Words(line)
		if !known {
			t.Fatalf("%q is a command and no words", line)
		}
		out, err := exec.Command(shell, "-c", "printf '%s\\n' "+line).Output()
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		want := ""
		for _, word := range words {
			want += word + "\n"
		}
		if string(out) != want {
			t.Errorf("%q is %q for a shell, and was taken for %q (%+v)", line, out, want, got)
		}
	})
}
