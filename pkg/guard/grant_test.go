package guard_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

// scoped makes the rule that holds offer a scope.
func (b *bench) scoped(t *testing.T, scope approval.Scope) {
	t.Helper()
	text := strings.Replace(rules, "timeout: 30s", "timeout: 30s, scope: "+string(scope), 1)
	if text == rules {
		t.Fatal("the rules have no hold to change")
	}
	pol, err := policy.Parse("policy.yaml", []byte(text))
	must(t, err)
	cfg := b.guard.Config
	cfg.Policy = func() *policy.Policy { return pol }
	b.guard = guard.New(cfg)
}

// another opens a second session of the same workload.
func (b *bench) another() {
	cfg := b.guard.Config
	s := *cfg.Session
	s.ID = session.NewID()
	cfg.Session = &s
	b.guard = guard.New(cfg)
}

// asks lets a statement be decided and reports whether a person was asked.
func (b *bench) asks(t *testing.T, op *operation.Operation, scope approval.Scope) (asked bool, decision protocol.Decision) {
	t.Helper()
	answered := make(chan bool, 1)
	stop := make(chan struct{})
	go func() {
		select {
		case signed := <-b.sent:
			b.sent <- signed
			b.voteFor(t, approval.Approve, scope)
			answered <- true
		case <-stop:
			answered <- false
		}
	}()
	decision, err := b.decide(t, t.Context(), op)
	must(t, err)
	close(stop)
	return <-answered, decision
}

func alter(text string) *operation.Operation {
	op := statement("ALTER TABLE", operation.DDL)
	op.Text, op.Bytes = operation.Text(text), []byte(text)
	return op
}

func TestYesForASessionIsRememberedInItAlone(t *testing.T) {
	b := newBench(t, verified())
	b.scoped(t, approval.SessionScope)
	if asked, decision := b.asks(t, alter("a"), approval.SessionScope); !asked || decision.Effect != protocol.Allow {
		t.Fatalf("asked %v, got %+v", asked, decision)
	}
	asked, decision := b.asks(t, alter("b"), approval.SessionScope)
	if asked || decision.Effect != protocol.Allow || decision.Decider != "approver" {
		t.Errorf("the second of the session: asked %v, got %+v", asked, decision)
	}
	b.another()
	if asked, _ := b.asks(t, alter("a"), approval.Once); !asked {
		t.Error("it reached another session")
	}
}

func TestYesForAShapeIsRememberedForTheSameActionAlone(t *testing.T) {
	b := newBench(t, verified())
	b.scoped(t, approval.ShapeScope)
	if asked, _ := b.asks(t, alter("a"), approval.ShapeScope); !asked {
		t.Fatal("nobody was asked")
	}
	b.another()
	if asked, decision := b.asks(t, alter("a"), approval.ShapeScope); asked || decision.Effect != protocol.Allow {
		t.Errorf("the same in another session: asked %v, got %+v", asked, decision)
	}
	if asked, _ := b.asks(t, alter("b"), approval.Once); !asked {
		t.Error("another value was not asked about")
	}
}

func TestYesThatReachesNoFurtherThanOnceIsNotRemembered(t *testing.T) {
	b := newBench(t, verified())
	b.scoped(t, approval.SessionScope)
	for range 2 {
		if asked, _ := b.asks(t, alter("a"), approval.Once); !asked {
			t.Error("nobody was asked")
		}
	}
}

func TestWhatATextDoesNotShowIsAskedAboutEachTime(t *testing.T) {
	b := newBench(t, verified())
	b.scoped(t, approval.ShapeScope)
	op := alter("DO")
	op.SQL.Statements[0].Opaque = true
	go b.vote(t, approval.Approve)
	_, err := b.decide(t, t.Context(), op)
	must(t, err)
	if asked, _ := b.asks(t, op, approval.Once); !asked {
		t.Error("the second was not asked about")
	}
}

// voteFor answers the next request with a vote of a scope, good for a minute.
func (b *bench) voteFor(t *testing.T, decision approval.Decision, scope approval.Scope) {
	t.Helper()
	signed := <-b.sent
	vote, err := approval.SignVote(approval.Vote{
		RequestHash: approval.RequestHash(signed), Decision: decision, Scope: scope, Approver: "approver",
		Reason: "seen", At: time.Now(), Expires: time.Now().Add(time.Minute),
	}, b.key)
	must(t, err)
	message, err := approval.EncodeUpdate(approval.Update{Vote: vote})
	must(t, err)
	request, err := approval.OpenRequest(signed, b.agent)
	must(t, err)
	b.desk.Deliver(request.ID, message)
}

func TestBreakGlassLetsAHoldGoOnAndSaysSoInItsRecords(t *testing.T) {
	b := newBench(t, verified())
	_, second, err := ed25519.GenerateKey(nil)
	must(t, err)
	line, err := approval.FormatPublicKey(second.Public().(ed25519.PublicKey))
	must(t, err)
	b.people.Approvers = append(b.people.Approvers, approval.Approver{
		Name: "second", Groups: []string{"dba"}, Keys: []string{line},
		Accounts: []approval.Account{{Issuer: "https://ci.example.com", Subject: "second"}},
	})
	token, err := approval.NewBreakGlass(approval.BreakGlass{
		ID: approval.NewID(), Cluster: "main", Rule: "ask-for-ddl", Reason: "the collector burns", People: []string{"approver", "second"},
		From: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Hour),
	})
	must(t, err)
	for _, key := range []ed25519.PrivateKey{b.key, second} {
		token, err = approval.SignBreakGlass(token, key)
		must(t, err)
	}
	b.token = token
	decision, err := b.decide(t, t.Context(), alter("a"))
	must(t, err)
	if decision.Effect != protocol.Allow || decision.Decider != "approver, second" || !strings.Contains(decision.Reason, "break-glass") || len(b.sent) != 0 {
		t.Errorf("got %+v, asked %d", decision, len(b.sent))
	}
	var used, intent bool
	for _, h := range b.headers(t) {
		used = used || h.Approval != nil && h.Approval.State == record.BrokenGlass && h.Approval.Approver == "approver, second"
		intent = intent || h.Intent != nil && strings.Contains(h.Intent.Reason, "break-glass")
	}
	if !used || !intent {
		t.Errorf("recorded: use %v, in the intent %v", used, intent)
	}
}
