package gitwire_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// denyForced denies what the lab's policy would hold.
func denyForced(op *operation.Operation) protocol.Decision {
	if op.Git != nil {
		for _, r := range op.Git.Refs {
			if r.Forced != operation.CertainlyNot {
				return protocol.Decision{Rule: "no-force", Reason: "History stays."}
			}
		}
	}
	return protocol.Decision{Effect: protocol.Allow}
}

// objects returns what the bare repository holds.
func (w *world) objects() string {
	return w.git(w.remote, "count-objects", "-v") + w.git(w.remote, "for-each-ref")
}

func TestDeniedPushIsRejectedByName(t *testing.T) {
	tests := []struct {
		name string
		args func(w *world) []string
		says []string
	}{
		{"forced", func(w *world) []string { return []string{"--force", "HEAD:main"} }, []string{"(sluice: refused by rule \"no-force\": History stays.)", "! [remote rejected]"}},
		{"one of two", func(w *world) []string { return []string{"--force", "HEAD:main", "HEAD:new"} }, []string{"HEAD -> main (sluice:", "HEAD -> new (sluice:"}},
		{"atomic", func(w *world) []string { return []string{"--atomic", "--force", "HEAD:main", "HEAD:new"} }, []string{"HEAD -> main (", "HEAD -> new ("}},
		{"deleted", func(w *world) []string { return []string{":side"} }, []string{"! [remote rejected] side (sluice: refused"}},
		{"with options", func(w *world) []string { return []string{"--force", "-o", "ci.skip", "HEAD:main"} }, []string{"! [remote rejected]"}},
		{"quiet", func(w *world) []string { return []string{"--force", "-q", "HEAD:main"} }, []string{"! [remote rejected]"}},
	}
	for _, in := range worlds {
		for _, test := range tests {
			t.Run(in.name+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, in.format, in.version)
				w.guard.decide = denyForced
				w.git(w.work, "commit", "-q", "--amend", "-m", "other words")
				before := w.objects()
				out, err := w.run(w.work, append([]string{"push", "origin"}, test.args(w)...)...)
				if err == nil || exitCode(err) != 1 {
					t.Errorf("git ended with %v", err)
				}
				for _, text := range append(test.says, "remote: sluice: refused by rule \"no-force\": History stays.") {
					if !strings.Contains(out, text) {
						t.Errorf("git did not print %q:\n%s", text, out)
					}
				}
				if after := w.objects(); after != before {
					t.Errorf("the server was changed:\n%s\n%s", before, after)
				}
				if got := w.guard.last(t); got.outcome.Status != protocol.Refused || len(got.request) != 0 {
					t.Errorf("outcome %+v, %d bytes of a request recorded", got.outcome, len(got.request))
				}
			})
		}
	}
}

func TestHeldPushSaysSoAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.guard.wait = &protocol.Waiting{Approval: 7, Rule: "no-force", Reason: "History stays.", Link: "https://sluice.example", Deadline: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.guard.decide = func(*operation.Operation) protocol.Decision {
		return protocol.Decision{Effect: protocol.Allow, Rule: "no-force", Approval: 7, Decider: "grace", Reason: "agreed"}
	}
	w.git(w.work, "commit", "-q", "--amend", "-m", "other words")
	out, err := w.run(w.work, "push", "--force", "origin", "HEAD:main")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, text := range []string{
		`remote: sluice: waiting for approval #7 by rule "no-force", until 2026-01-02T03:04:05Z: History stays. (decide at https://sluice.example`,
		"remote: sluice: approval #7: approved by grace",
		"(forced update)",
	} {
		if !strings.Contains(out, text) {
			t.Errorf("git did not print %q:\n%s", text, out)
		}
	}
	text := w.guard.last(t).text
	for _, part := range []string{"FORCED", "loses " + w.c3[:10] + " add three (Ada Example <ada@example.com>)", "other words"} {
		if !strings.Contains(text, part) {
			t.Errorf("an approver does not read %q in\n%s", part, text)
		}
	}
}

func TestServersRefusalIsTheOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.git(w.remote, "config", "receive.denyNonFastForwards", "true")
	w.git(w.work, "commit", "-q", "--amend", "-m", "other words")
	if out, err := w.run(w.work, "push", "--force", "origin", "HEAD:main"); err == nil || !strings.Contains(out, "non-fast-forward") {
		t.Errorf("git ended with %v\n%s", err, out)
	}
	if got := w.guard.last(t).outcome; got.Status != protocol.Failed || got.Code != "ng" || got.Tag != "0 ok, 1 ng" {
		t.Errorf("outcome %+v", got)
	}
}

func TestServerNotices_WhenARefMovesMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.guard.decide = func(*operation.Operation) protocol.Decision {
		w.git(w.remote, "update-ref", "refs/heads/main", w.c1) // while people think
		return protocol.Decision{Effect: protocol.Allow}
	}
	w.commit(w.work, "four")
	if out, err := w.run(w.work, "push", "origin", "HEAD:main"); err == nil {
		t.Errorf("git pushed over a ref that had moved:\n%s", out)
	}
	if at := w.at("refs/heads/main"); at != w.c1 {
		t.Errorf("main is at %s, want %s", at, w.c1)
	}
}

func TestNobodyToAskMakesForcedUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.mute = true
	w.git(w.work, "push", "-q", "--force", "origin", w.c1+":main")
	w.expect(t, want{"refs/heads/main", update, maybe})
	w.commit(w.work, "four") // on top of three, which is no part of the pack
	w.git(w.work, "push", "-q", "--force", "origin", "HEAD:side")
	w.expect(t, want{"refs/heads/side", update, no}) // a hash proves this one
}

// endless is a server that says something, and then the same for ever.
type endless struct {
	begins, goesOn string
	said           atomic.Int64
	ended          <-chan struct{}
}

func (e *endless) Read(p []byte) (n int, _ error) {
	defer func() { e.said.Add(int64(n)) }()
	select {
	case <-e.ended:
		return 0, io.ErrClosedPipe
	default:
	}
	if e.begins != "" {
		n = copy(p, e.begins)
		e.begins = e.begins[n:]
		return n, nil
	}
	for n+len(e.goesOn) <= len(p) {
		n += copy(p[n:], e.goesOn)
	}
	return n, nil
}
func (*endless) Write(p []byte) (int, error) { return len(p), nil }
func (*endless) CloseWrite() error           { return nil }
func (*endless) Close() error                { return nil }

// A server that answers a question of ours without end costs little, and what
// it was asked stays unknown.
func TestEndlessAnswersAreCut(t *testing.T) {
	t.Parallel()
	const id = "0123456789012345678901234567890123456789"
	v2 := pkt("version 2\n") + pkt("fetch=filter\n") + pkt("object-format=sha1\n") + "0000"
	for name, server := range map[string]*endless{
		"capabilities":    {begins: pkt("version 2\n"), goesOn: pkt("fetch\n")},
		"acknowledgments": {begins: v2 + pkt("acknowledgments\n"), goesOn: pkt("ACK " + id + "\n")},
		"progress":        {begins: v2 + pkt("packfile\n"), goesOn: pkt("\x02busy\n")},
		"a pack":          {begins: v2 + pkt("packfile\n") + pkt("\x01PACK\x00\x00\x00\x02\x7f\xff\xff\xff"), goesOn: pkt("\x01\x00\x00")},
	} {
		w := newWorld(t, "sha1", "")
		w.answers = func(ctx context.Context, _ gitwire.Command) (gitwire.Stream, error) {
			server.ended = ctx.Done()
			return server, nil
		}
		w.git(w.work, "push", "-q", "--force", "origin", w.c1+":main")
		w.expect(t, want{"refs/heads/main", update, maybe})
		if said := server.said.Load(); said > 64<<20 {
			t.Errorf("%s: %d bytes were read", name, said)
		}
	}
}

func TestPackOverTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	for _, limits := range []gitwire.Limits{{Pack: 64}, {Inflated: 64}, {Objects: 2}, {Request: 64}} {
		w := newWorld(t, "sha1", "")
		w.limits = limits
		w.commit(w.work, "four")
		before := w.objects()
		out, err := w.run(w.work, "push", "origin", "HEAD:main")
		if err == nil || !strings.Contains(out, "larger than this agent takes") {
			t.Errorf("%+v: git ended with %v\n%s", limits, err, out)
		}
		if after := w.objects(); after != before {
			t.Errorf("%+v: the server was changed", limits)
		}
	}
}

func TestLargePackWaitsInAFileWithoutAName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.limits = gitwire.Limits{Memory: 64, Dir: t.TempDir()}
	w.guard.decide = func(*operation.Operation) protocol.Decision {
		if left, err := os.ReadDir(w.limits.Dir); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
		return protocol.Decision{Effect: protocol.Allow}
	}
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	if err := os.WriteFile(filepath.Join(w.work, "noise"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	w.git(w.work, "push", "-q", "origin", w.commit(w.work, "four")+":main")
	w.git(w.work, "add", "noise")
	w.git(w.work, "commit", "-q", "-m", "noise")
	w.git(w.work, "push", "-q", "origin", "HEAD:main")
	w.git(w.remote, "fsck", "--strict")
}

func TestPushEndsWhenItsPackCannotBeRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.guard.full = true
	w.commit(w.work, "four")
	if out, err := w.run(w.work, "push", "-q", "origin", "HEAD:main"); err == nil {
		t.Errorf("the push succeeded\n%s", out)
	}
	if got := w.guard.last(t); got.outcome.Status != protocol.Abandoned || len(got.request) == 0 || len(got.pack) != 0 {
		t.Errorf("outcome %+v, %d bytes of commands and %d of the pack recorded", got.outcome, len(got.request), len(got.pack))
	}
	if at := w.at("main"); at != w.c3 {
		t.Errorf("main is at %s", at)
	}
}

// A workload's packs share its room, and give it back.
func TestPacksThatWaitShareARoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.limits.Memory = 1
	w.room = gitwire.NewRoom(2<<10, 1<<20)
	for n := range 20 {
		w.commit(w.work, fmt.Sprint("small", n))
		w.git(w.work, "push", "-q", "origin", "HEAD:main")
	}
	noise := make([]byte, 8<<10)
	_, _ = rand.Read(noise)
	if err := os.WriteFile(filepath.Join(w.work, "noise"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	w.git(w.work, "add", "noise")
	w.git(w.work, "commit", "-q", "-m", "noise")
	out, err := w.run(w.work, "push", "-q", "origin", "HEAD:main")
	if err == nil || !strings.Contains(out, "larger than this agent takes") {
		t.Errorf("git ended with %v\n%s", err, out)
	}
}

func TestSignedPushIsReadFromItsCertificate(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{nil, {"-o", "reviewed"}} {
		w := newWorld(t, "sha1", "")
		key := filepath.Join(w.dir, "key")
		w.keygen(key)
		w.commit(w.work, "four")
		args := append([]string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + key, "push", "--signed=true"}, options...)
		w.git(w.work, append(args, "origin", "HEAD:main", w.c1+":refs/heads/new")...)
		got := w.expect(t, want{"refs/heads/main", update, no}, want{"refs/heads/new", create, no})
		if !strings.Contains(got.text, "signed, not checked here, by ") {
			t.Errorf("the signer is not shown:\n%s", got.text)
		}
		if len(options) > 0 && (len(got.Git.Options) != 1 || got.Git.Options[0] != "reviewed") {
			t.Errorf("options %q", got.Git.Options)
		}
	}
}

func TestShallowCloneCanPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.work = filepath.Join(w.dir, "shallow")
	w.git("", "clone", "-q", "--depth", "1", w.url(), w.work)
	w.commit(w.work, "four")
	w.git(w.work, "push", "-q", "origin", "HEAD:main")
	got := w.expect(t, want{"refs/heads/main", update, no})
	if !strings.Contains(got.text, "from a shallow clone") {
		t.Errorf("that the clone is shallow is not shown:\n%s", got.text)
	}
	w.git(w.work, "commit", "-q", "--amend", "-m", "other words")
	w.git(w.work, "push", "-q", "--force", "origin", "HEAD:main")
	w.expect(t, want{"refs/heads/main", update, yes})
}
