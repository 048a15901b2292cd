package approval_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

var reviewedDigests = [][sha256.Size]byte{sha256.Sum256([]byte("one")), sha256.Sum256([]byte("two"))}

// preapproval is ann's yes to two statements of acme/shop at commit.
func preapproval() approval.Preapproval {
	p := approval.Preapproval{
		ID: approval.NewID(), Cluster: "lab", Issuer: forge, Repository: "acme/shop", Commit: commit, Resource: "shop-db",
		Rule: "schema-changes-need-a-person", Where: approval.Where{Database: "shop", Role: "app", SearchPath: "public"},
		File: strings.Repeat("ab", 32), By: "ann", Reason: "reviewed in 12", At: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour),
	}
	for i, digest := range reviewedDigests {
		p.Shapes = append(p.Shapes, approval.Shape{Digest: hex.EncodeToString(digest[:]), Line: 3 + i})
	}
	return p
}

// byTheJob is a request of the job that the pre-approval is for.
func byTheJob() approval.Request {
	r := request(1)
	r.Where = approval.Where{Database: "shop", Role: "app", SearchPath: "public"}
	r.Requester = approval.Requester{Account: approval.Account{Issuer: forge, Subject: "repo:acme/shop"}, Repository: "acme/shop", Commit: commit}
	return r
}

func (p *people) reviewed(t *testing.T, file approval.Preapproval, by string) []byte {
	t.Helper()
	signed, err := approval.SignPreapproval(file, p.keys[by])
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (p *people) releases(files [][]byte, r approval.Request, digests ...[sha256.Size]byte) *approval.Preapproved {
	desk := approval.NewDesk(approval.Config{
		Key: p.agent, Roster: func() *approval.Roster { return &p.roster }, Preapprovals: func() [][]byte { return files }, Log: zap.NewNop(),
	})
	return desk.Preapproved(&r, digests, time.Now())
}

func TestReviewedStatementsAreReleased(t *testing.T) {
	p := newPeople(t)
	signed := p.reviewed(t, preapproval(), "ann")
	for _, digests := range [][][sha256.Size]byte{reviewedDigests[:1], reviewedDigests[1:], reviewedDigests, {reviewedDigests[1], reviewedDigests[1]}} {
		got := p.releases([][]byte{[]byte("junk"), signed}, byTheJob(), digests...)
		if got == nil || got.Files[0].By != "ann" || !bytes.Equal(got.Signed[0], signed) || len(got.Lines) != len(digests) {
			t.Errorf("%d statements: %+v", len(digests), got)
		}
	}
	if got := p.releases([][]byte{signed}, byTheJob(), reviewedDigests[1]); !slices.Equal(got.Lines, []int{4}) {
		t.Errorf("on lines %v", got.Lines)
	}
}

func TestNothingElseIsReleasedByAReviewedFile(t *testing.T) {
	p := newPeople(t)
	signed := p.reviewed(t, preapproval(), "ann")
	for name, change := range map[string]func(*approval.Request){
		"another commit":             func(r *approval.Request) { r.Requester.Commit = strings.Repeat("1", 40) },
		"a beginning of the commit":  func(r *approval.Request) { r.Requester.Commit = commit[:39] },
		"another repository":         func(r *approval.Request) { r.Requester.Repository = "acme/wiki" },
		"no verified repository":     func(r *approval.Request) { r.Requester.Repository = "" },
		"no verified commit":         func(r *approval.Request) { r.Requester.Commit = "" },
		"the same names elsewhere":   func(r *approval.Request) { r.Requester.Account.Issuer = "https://other.example" },
		"another resource":           func(r *approval.Request) { r.Resource = "hr-db" },
		"another rule":               func(r *approval.Request) { r.Rule = "another" },
		"another database":           func(r *approval.Request) { r.Where.Database = "hr" },
		"another role":               func(r *approval.Request) { r.Where.Role = "admin" },
		"another search path":        func(r *approval.Request) { r.Where.SearchPath = "evil, public" },
		"another cluster":            func(r *approval.Request) { r.Cluster = "main" },
		"another group":              func(r *approval.Request) { r.Required.Groups = []string{"dev"} },
		"two votes":                  func(r *approval.Request) { r.Required.Votes = 2 },
		"the approver triggered it":  func(r *approval.Request) { r.Trigger = &approval.Account{Issuer: forge, Subject: "actor_id:ann"} },
		"triggered where nobody is":  func(r *approval.Request) { r.Trigger.Issuer = "https://other.example" },
		"nobody knows who triggered": func(r *approval.Request) { r.Trigger = nil },
	} {
		r := byTheJob()
		change(&r)
		if got := p.releases([][]byte{signed}, r, reviewedDigests...); got != nil {
			t.Errorf("%s: released by %s", name, got.Files[0].By)
		}
	}
	other := sha256.Sum256([]byte("three"))
	if p.releases([][]byte{signed}, byTheJob(), reviewedDigests[0], other) != nil || p.releases([][]byte{signed}, byTheJob()) != nil {
		t.Error("a statement that is not in the file was released, or none at all")
	}
}

func TestReviewedFileDoesNotCount(t *testing.T) {
	p := newPeople(t)
	good := p.reviewed(t, preapproval(), "ann")
	counts := func(signed []byte) bool { return p.releases([][]byte{signed}, byTheJob(), reviewedDigests...) != nil }
	for name, change := range map[string]func(*approval.Preapproval){
		"expired":        func(f *approval.Preapproval) { f.At, f.Expires = f.At.Add(-time.Hour), time.Now().Add(-time.Second) },
		"not yet signed": func(f *approval.Preapproval) { f.At = time.Now().Add(time.Hour); f.Expires = f.At.Add(time.Hour) },
		"by a stranger":  func(f *approval.Preapproval) { f.By = "eve" },
		"by another":     func(f *approval.Preapproval) { f.By = "bob" }, // ann's key signs
	} {
		file := preapproval()
		change(&file)
		if counts(p.reviewed(t, file, "ann")) {
			t.Errorf("%s: it counts", name)
		}
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if counts(changed) {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
	p.roster.Console = publicText(t, keyOf("console"))
	byConsole, err := approval.SignPreapproval(preapproval(), keyOf("console"))
	if err != nil || counts(byConsole) {
		t.Errorf("the console's key: %v", err)
	}
	p.roster.Approvers[0].Groups = []string{"dev"}
	if counts(good) {
		t.Error("ann left the group")
	}
	p.roster.Approvers = p.roster.Approvers[1:]
	if counts(good) {
		t.Error("ann left the roster")
	}
	p = newPeople(t)
	p.roster.NotAfter = time.Now()
	if counts(good) {
		t.Error("the roster has expired")
	}
	if _, err := approval.OpenPreapproval(good, nil, "lab", time.Now()); !errors.Is(err, approval.ErrNoRoster) {
		t.Errorf("without a roster: %v", err)
	}
}

func TestTwoVotesNeedTwoReviewers(t *testing.T) {
	p := newPeople(t)
	r := byTheJob()
	r.Required.Votes = 2
	ann, bob := preapproval(), preapproval()
	bob.By = "bob"
	again := preapproval()
	files := [][]byte{p.reviewed(t, ann, "ann"), p.reviewed(t, again, "ann")}
	if p.releases(files, r, reviewedDigests...) != nil {
		t.Error("one person counts twice")
	}
	if got := p.releases(append(files, p.reviewed(t, bob, "bob")), r, reviewedDigests...); got == nil || len(got.Files) != 2 || got.Files[1].By != "bob" {
		t.Errorf("got %+v", got)
	}
}

func TestFileThatSaysTooLittleOrTooMuchCannotBeSigned(t *testing.T) {
	p := newPeople(t)
	for name, change := range map[string]func(*approval.Preapproval){
		"a short commit":      func(f *approval.Preapproval) { f.Commit = commit[:12] },
		"a branch":            func(f *approval.Preapproval) { f.Commit = "main" },
		"no repository":       func(f *approval.Preapproval) { f.Repository = "" },
		"no issuer":           func(f *approval.Preapproval) { f.Issuer = "" },
		"no role":             func(f *approval.Preapproval) { f.Where.Role = "" },
		"no statement":        func(f *approval.Preapproval) { f.Shapes = nil },
		"too many statements": func(f *approval.Preapproval) { f.Shapes = make([]approval.Shape, approval.MaxShapes+1) },
		"for ever":            func(f *approval.Preapproval) { f.Expires = f.At.Add(approval.MaxPreapproval + time.Second) },
	} {
		file := preapproval()
		change(&file)
		if _, err := approval.SignPreapproval(file, p.keys["ann"]); err == nil {
			t.Errorf("%s: it was signed", name)
		}
	}
	if id, ok := approval.PreapprovalID(p.token(t, breakGlass(), "ann", "bob")); ok {
		t.Errorf("a break-glass token is taken for %s", id)
	}
}
