package e2e

import (
	"strings"
	"testing"
	"time"
)

// onHost runs something on the SSH host itself, around the agent.
func onHost(t *testing.T, argv ...string) string {
	t.Helper()
	r := run(append([]string{"admin", "ssh", "--"}, argv...)...)
	if r.code != 0 {
		t.Fatalf("%v: %s", argv, r.all())
	}
	return r.out
}

// onHostSession waits for the session of a job that spoke to the host.
func onHostSession(t *testing.T, began time.Time) sessionView {
	t.Helper()
	return newest(t, began, func(s sessionView) bool { return s.Resource == "build-host" })
}

// token is of GitHub's shape, in two parts: the whole of it must be nowhere.
const tokenBegins, tokenEnds = "ghp_0123456789abcdef", "ghijABCDEFGHIJ012345"

// An unmodified ssh in a job: what it runs is recorded, what is secret in its
// output is hidden, in the record too, and what policy denies does not run.
func TestCommandIsRecordedMaskedAndRefused(t *testing.T) {
	began := time.Now()
	r := run("job", "--", "ssh", "ssh.lab", "printf 'token %s' "+tokenBegins+"; printf '%s\\n' "+tokenEnds)
	if r.code != 0 || r.out != "token [redacted]\n" {
		t.Fatalf("got %q, %d", r.all(), r.code)
	}
	session := onHostSession(t, began)
	if session.Protocol != "ssh" || session.Masked != 1 || session.Assurance != "A3" {
		t.Errorf("got %+v", session)
	}
	replay := ctl(t, "replay", session.ID)
	contains(t, replay, "token [redacted]")
	lacks(t, replay, tokenBegins+tokenEnds)
	contains(t, ctl(t, "show", session.ID), "printf", "log in as deploy")

	began = time.Now()
	r = run("job", "--", "ssh", "ssh.lab", "/bin/r''m -rf /home/deploy; touch /home/deploy/ran")
	if r.code != 1 || !strings.Contains(r.errs, `sluice: refused by rule "nothing-is-wiped"`) {
		t.Errorf("got %q, %d", r.all(), r.code)
	}
	if session := onHostSession(t, began); session.Denied != 1 {
		t.Errorf("got %+v", session)
	}
	lacks(t, onHost(t, "ls", "/home/deploy"), "ran")
}

// scp, sftp and rsync bring files to the host, each known by path and, where it
// is SFTP, by digest. With a mask on the host none is read in pieces.
func TestFilesReachTheHostWithTheirDigest(t *testing.T) {
	began := time.Now()
	script := `cd "$(mktemp -d)" && printf content >file && scp -q file ssh.lab:by-scp &&
		echo 'put file by-sftp' | sftp -q -b - ssh.lab && rsync -e ssh file ssh.lab:by-rsync && ! scp -q ssh.lab:by-scp back`
	r := run("job", "--", "sh", "-c", script)
	if r.code != 0 {
		t.Fatal(r.all())
	}
	contains(t, r.errs, `mask "tokens"`)
	for _, name := range []string{"by-scp", "by-sftp", "by-rsync"} {
		if got := onHost(t, "cat", "/home/deploy/"+name); got != "content" {
			t.Errorf("%s has %q", name, got)
		}
	}
	onHostSession(t, began) // all of it is at the collector then
	const digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
	eventually(t, "the digest is found", func() bool { return strings.Contains(run("ctl", "search", "by-sftp").out, "by-sftp") })
	var shown strings.Builder
	for _, line := range strings.Split(ctl(t, "sessions", "--limit", "8"), "\n") {
		if fields := strings.Fields(line); len(fields) > 0 && strings.Contains(line, "build-host") {
			shown.WriteString(ctl(t, "show", fields[0]))
		}
	}
	contains(t, shown.String(), "open for writing /home/deploy/by-scp", "open for writing /home/deploy/by-sftp", "sha256:"+digest, "rsync --server")
}
