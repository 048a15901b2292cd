package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// gitURL is the lab's repository as jobs name it. Its twin with SHA-256 ids is
// shop256.git beside it.
const gitURL = "ssh://git@git.lab/srv/git/shop.git"

// gitHost is where jobs push to and fetch from: its user can run git's services
// and nothing else.
func (l *lab) gitHost() sshHost {
	return sshHost{
		name: "git", server: "git.lab", secret: "git-ssh", address: 5,
		user: "git", uid: 64541, shell: "/usr/bin/git-shell", accepts: "GIT_PROTOCOL", srv: l.path("git", "srv"),
	}
}

// startGit starts the host of the repositories.
func (l *lab) startGit() error {
	for name, format := range map[string]string{"shop.git": "sha1", "shop256.git": "sha256"} {
		if err := l.seedRepository(filepath.Join(l.gitHost().srv, "git", name), format); err != nil {
			return err
		}
	}
	return l.startHost(l.gitHost())
}

// seedRepository makes a bare repository of a few commits. Deleting its main
// branch is for policy to refuse, so the server would allow it.
func (l *lab) seedRepository(dir, format string) error {
	work, err := os.MkdirTemp(l.dir, "seed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // the lab's own directory goes with the lab
	for _, args := range [][]string{
		{"init", "-q", "--bare", "-b", "main", "--object-format=" + format, dir},
		{"-C", dir, "config", "receive.denyDeleteCurrent", "ignore"},
		{"-C", dir, "config", "receive.advertisePushOptions", "true"},
		{"init", "-q", "-b", "main", "--object-format=" + format, work},
	} {
		if err := git(args...); err != nil {
			return err
		}
	}
	for _, name := range []string{"catalogue", "basket", "checkout"} {
		if err := os.WriteFile(filepath.Join(work, name+".txt"), []byte("The "+name+" of the shop.\n"), 0o600); err != nil {
			return err
		}
		if err := git("-C", work, "add", "."); err != nil {
			return err
		}
		if err := git("-C", work, "commit", "-q", "-m", "add the "+name); err != nil {
			return err
		}
	}
	return git("-C", work, "push", "-q", dir, "main", "main:release")
}

// git runs git as a person of the shop.
func git(args ...string) error {
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ada Example", "-c", "user.email=ada@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %q: %w\n%s", args, err, out)
	}
	return nil
}

// asGit is argv run where the repositories are, as their owner.
func (l *lab) asGit(argv ...string) []string {
	h := l.gitHost()
	return l.asHost(h, append([]string{"setpriv", fmt.Sprintf("--reuid=%d", h.uid), fmt.Sprintf("--regid=%d", h.uid), "--clear-groups", "env", "HOME=/home/" + h.user}, argv...)...)
}
