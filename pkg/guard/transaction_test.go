package guard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// under puts the guard under the rules with one text in place of another.
func (b *bench) under(t *testing.T, old, text string) {
	t.Helper()
	changed := strings.Replace(rules, old, text, 1)
	pol, err := policy.Parse("policy.yaml", []byte(changed))
	must(t, err)
	if changed == rules {
		t.Fatalf("the rules have no %q", old)
	}
	cfg := b.guard.Config
	cfg.Policy = func() *policy.Policy { return pol }
	b.guard = guard.New(cfg)
}

// held returns what people are asked about an operation, and what the client
// is told while it waits.
func (b *bench) held(t *testing.T, op *operation.Operation) (approval.Request, protocol.Waiting) {
	t.Helper()
	waiting := make(chan protocol.Waiting, 64)
	decided := make(chan error, 1)
	x, err := b.guard.Begin(t.Context(), op)
	must(t, err)
	go func() {
		_, err := x.Decide(t.Context(), func(w protocol.Waiting) { waiting <- w })
		decided <- err
	}()
	signed := <-b.sent
	request, err := approval.OpenRequest(signed, b.agent)
	must(t, err)
	numbered, err := approval.EncodeUpdate(approval.Update{Number: 7})
	must(t, err)
	b.desk.Deliver(request.ID, numbered)
	told := <-waiting
	b.sent <- signed
	b.vote(t, approval.Deny)
	must(t, <-decided)
	must(t, x.Done(protocol.Outcome{Status: protocol.Refused}))
	return request, told
}

func TestHoldInsideATransactionIsCappedAndSaysSo(t *testing.T) {
	b := newBench(t, verified())
	b.under(t, "timeout: 30s", "timeout: 10m")
	const note = "A transaction is open"
	request, told := b.held(t, statement("ALTER TABLE", operation.DDL))
	if lasts := request.NotAfter.Sub(request.Created); lasts != 10*time.Minute || strings.Contains(request.Reason+told.Reason, note) {
		t.Errorf("outside of a transaction: %v, %q, %q", lasts, request.Reason, told.Reason)
	}
	inside := statement("ALTER TABLE", operation.DDL)
	inside.Context.InTransaction = true
	request, told = b.held(t, inside)
	if lasts := request.NotAfter.Sub(request.Created); lasts != time.Minute {
		t.Errorf("inside of a transaction it waits for %v", lasts)
	}
	if !strings.Contains(request.Reason, note) || !strings.Contains(told.Reason, "at most 1m0s") || told.Deadline.After(request.NotAfter.Add(time.Second)) {
		t.Errorf("the approver reads %q, the client %q until %v", request.Reason, told.Reason, told.Deadline)
	}
	b.under(t, "timeout: 30s", "timeout: 1s")
	late, err := b.decide(t, t.Context(), inside)
	must(t, err)
	if late.Effect != protocol.Deny || !strings.Contains(late.Reason, "within 1s") {
		t.Errorf("a rule that waits for less: %+v", late)
	}
}

// A policy that holds BEGIN asks while nothing is locked, and a yes for the
// session is one for what its rule holds in the transaction.
func TestHoldBeforeATransactionIsNoneInIt(t *testing.T) {
	b := newBench(t, verified())
	b.under(t, `s.class == "ddl")
    effect: hold
    approve: {groups: [dba], votes: 1, timeout: 30s}`, `s.class == "ddl" || s.kind == "BEGIN")
    effect: hold
    approve: {groups: [dba], votes: 1, timeout: 30s, scope: session}`)
	begin := statement("BEGIN", operation.Transaction)
	if asked, decision := b.asks(t, begin, approval.SessionScope); !asked || decision.Effect != protocol.Allow {
		t.Fatalf("BEGIN: asked %v, got %+v", asked, decision)
	}
	inside := alter("a")
	inside.Context.InTransaction = true
	if asked, decision := b.asks(t, inside, approval.SessionScope); asked || decision.Effect != protocol.Allow {
		t.Errorf("in the transaction: asked %v, got %+v", asked, decision)
	}
}
