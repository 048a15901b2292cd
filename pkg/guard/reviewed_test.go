package guard_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
)

const reviewedCommit = "0123456789abcdef0123456789abcdef01234567"

// reviewing lets the approver sign a file of one statement, whose text is its
// shape here.
func (b *bench) reviewing(t *testing.T, text string, change func(*approval.Preapproval)) {
	t.Helper()
	w := verified()
	w.Verified["repository"], w.Verified["sha"] = "acme/shop", reviewedCommit
	digest := sha256.Sum256([]byte(text))
	file := approval.Preapproval{
		ID: approval.NewID(), Cluster: "main", Issuer: "https://ci.example.com", Repository: "acme/shop", Commit: reviewedCommit, Resource: "shop-db",
		Rule: "ask-for-ddl", Where: approval.Where{Database: "shop", Role: "app"}, File: strings.Repeat("ab", 32),
		Shapes: []approval.Shape{{Digest: hex.EncodeToString(digest[:]), Line: 7}}, By: "approver", At: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour),
	}
	change(&file)
	signed, err := approval.SignPreapproval(file, b.key)
	must(t, err)
	b.reviewed = [][]byte{signed}
	b.with(func(cfg *guard.Config) {
		s := *cfg.Session
		s.Workload = w
		cfg.Session = &s
		cfg.Shapes = func(op *operation.Operation) [][32]byte { return [][32]byte{sha256.Sum256(op.Text)} }
	})
}

// placed is a statement in the database and as the role that was reviewed.
func placed(kind string, class operation.Class) *operation.Operation {
	op := statement(kind, class)
	op.Context = operation.Context{Database: "shop", Role: "app"}
	return op
}

func asSigned(*approval.Preapproval) {}

func TestReviewedFileReleasesAndSaysSoInItsRecords(t *testing.T) {
	b := newBench(t, verified())
	b.reviewing(t, "ALTER TABLE x", asSigned)
	for range 2 {
		decision, err := b.decide(t, t.Context(), placed("ALTER TABLE", operation.DDL))
		must(t, err)
		if decision.Effect != protocol.Allow || decision.Decider != "approver" || decision.Rule != "ask-for-ddl" || decision.Approval != 0 || len(b.sent) != 0 {
			t.Fatalf("got %+v, asked %d", decision, len(b.sent))
		}
	}
	uses, signed := 0, 0
	for _, h := range b.headers(t) {
		if h.Approval != nil && h.Approval.State == record.Preapproved {
			uses++
			digest := sha256.Sum256([]byte("ALTER TABLE x"))
			for _, want := range []string{"file sha256 abab", "line 7", hex.EncodeToString(digest[:])} {
				if !strings.Contains(h.Approval.Reason, want) {
					t.Errorf("the record does not say %s: %s", want, h.Approval.Reason)
				}
			}
		}
		if h.Intent != nil && strings.Contains(h.Intent.Reason, "reviewed it in the file sha256 abab") && h.Intent.Decider == "approver" {
			signed++
		}
	}
	if uses != 2 || signed != 2 {
		t.Errorf("%d uses and %d intents are recorded", uses, signed)
	}
}

// TestPeopleAreAskedWhereAReviewedFileDoesNotReach covers what the guard adds to
// what the desk checks.
func TestPeopleAreAskedWhereAReviewedFileDoesNotReach(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*approval.Preapproval)
		op     func(*operation.Operation)
	}{
		"another text":       {asSigned, func(op *operation.Operation) { op.Text = operation.Text("ALTER TABLE y") }},
		"another role":       {asSigned, func(op *operation.Operation) { op.Context.Role = "admin" }},
		"another path":       {asSigned, func(op *operation.Operation) { op.Context.SearchPath = "evil" }},
		"opaque":             {asSigned, func(op *operation.Operation) { op.SQL.Statements[0].Opaque = true }},
		"another commit":     {func(f *approval.Preapproval) { f.Commit = strings.Repeat("1", 40) }, func(*operation.Operation) {}},
		"another repository": {func(f *approval.Preapproval) { f.Repository = "acme/wiki" }, func(*operation.Operation) {}},
		"expired":            {func(f *approval.Preapproval) { f.At, f.Expires = f.At.Add(-time.Hour), time.Now().Add(-time.Second) }, func(*operation.Operation) {}},
	} {
		b := newBench(t, verified())
		b.reviewing(t, "ALTER TABLE x", test.change)
		op := placed("ALTER TABLE", operation.DDL)
		test.op(op)
		if asked, _ := b.asks(t, op, approval.Once); !asked {
			t.Errorf("%s: nobody was asked", name)
		}
	}
}

func TestClaimsThatNobodyVerifiedReleaseNothing(t *testing.T) {
	b := newBench(t, verified())
	b.reviewing(t, "ALTER TABLE x", asSigned)
	b.with(func(cfg *guard.Config) {
		s := *cfg.Session
		s.Workload = verified()
		s.Workload.Claimed.Env = map[string]string{"GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": reviewedCommit}
		cfg.Session = &s
	})
	if asked, _ := b.asks(t, placed("ALTER TABLE", operation.DDL), approval.Once); !asked {
		t.Error("nobody was asked")
	}
}

// TestWhatTheSessionDefinedItselfEndsTheReview: a temporary view of the table's
// name would give the reviewed statement another meaning.
func TestWhatTheSessionDefinedItselfEndsTheReview(t *testing.T) {
	define := func(change func(*operation.Operation)) *operation.Operation {
		op := placed("SELECT", operation.Read)
		change(op)
		return op
	}
	for name, op := range map[string]*operation.Operation{
		"a function of a user's": define(func(op *operation.Operation) { op.SQL.Statements[0].Opaque = true }),
		"a call":                 {Kind: operation.Call, Parsed: true},
	} {
		b := newBench(t, verified())
		b.reviewing(t, "ALTER TABLE x", asSigned)
		for _, before := range []*operation.Operation{placed("SELECT", operation.Read), {Kind: operation.Connect, Parsed: true}} {
			_, err := b.decide(t, t.Context(), before)
			must(t, err)
		}
		if asked, _ := b.asks(t, placed("ALTER TABLE", operation.DDL), approval.Once); asked {
			t.Errorf("%s: reads alone made somebody be asked", name)
		}
		decision, err := b.decide(t, t.Context(), op)
		must(t, err)
		if decision.Effect != protocol.Allow {
			t.Fatalf("%s: %+v", name, decision)
		}
		if asked, _ := b.asks(t, placed("ALTER TABLE", operation.DDL), approval.Once); !asked {
			t.Errorf("%s: nobody was asked afterwards", name)
		}
	}
	b := newBench(t, verified())
	b.reviewing(t, "ALTER TABLE x", asSigned)
	if asked, _ := b.asks(t, placed("CREATE VIEW", operation.DDL), approval.Once); !asked {
		t.Fatal("a view was not asked about")
	}
	if asked, _ := b.asks(t, placed("ALTER TABLE", operation.DDL), approval.Once); !asked {
		t.Error("after a view that somebody else approved nobody was asked")
	}
}

func TestReviewedFileDoesNotOutliveItsSessionsEnd(t *testing.T) {
	b := newBench(t, verified())
	b.reviewing(t, "ALTER TABLE x", asSigned)
	b.stopped.Store(&approval.Order{Kind: approval.Kill, By: "ada"})
	decision, err := b.decide(t, t.Context(), placed("ALTER TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Deny {
		t.Errorf("got %+v", decision)
	}
}
