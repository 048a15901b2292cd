package guard_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/pkg/workload"
)

const rules = `version: 1
resources:
  - name: shop-db
    protocol: postgres
    hosts: [192.0.2.1]
    port: 5432
    credentials: [{user: app, password_file: p}]
rules:
  - {name: no-drops, when: 'op.sql.statements.exists(s, s.kind == "DROP TABLE")', effect: deny, reason: Not here.}
  - name: ask-for-ddl
    when: op.sql.statements.exists(s, s.class == "ddl")
    effect: hold
    approve: {groups: [dba], votes: 1, timeout: 30s}
  - {name: few-rows, when: 'op.sql.statements.exists(s, s.kind == "DELETE")', effect: deny, over_rows: 5, reason: Ask.}
default: allow
`

// bench is a guard over a real policy, a real trail and a real desk. The
// collector and the approver are played by vote.
type bench struct {
	guard *guard.Guard
	desk  *approval.Desk
	spool *spool.Spool
	sent  chan []byte // signed requests, as they reach the collector
	agent ed25519.PublicKey
	key   ed25519.PrivateKey // the approver's
	holds bool               // the workload has places for held operations left

	people   *approval.Roster
	token    []byte   // of break-glass; nil while the collector is there
	reviewed [][]byte // pre-approvals
	stopped  atomic.Pointer[approval.Order]
}

func newBench(t *testing.T, w workload.Workload) *bench {
	t.Helper()
	b := &bench{sent: make(chan []byte, 16), holds: true}
	pol, err := policy.Parse("policy.yaml", []byte(rules))
	must(t, err)
	skey, _, err := translog.GenerateKey(translog.AgentKeyName("main", "node1"))
	must(t, err)
	signer, err := translog.NewSigner(skey)
	must(t, err)
	agentKey, err := translog.PrivateKey(skey)
	must(t, err)
	_, logKey, err := translog.GenerateKey("sluice/main")
	must(t, err)
	collector, err := translog.NewVerifier(logKey)
	must(t, err)
	b.spool, err = spool.Open(spool.Config{Dir: filepath.Join(t.TempDir(), "spool"), Segment: 1 << 20, Limit: 4 << 20})
	must(t, err)
	t.Cleanup(func() { _ = b.spool.Close() })
	log, err := audit.Open(audit.Config{
		Spool: b.spool, Signer: signer, Collector: collector, Cluster: "main", Agent: "node1", Log: zap.NewNop(),
		Publish: func(context.Context, []byte, []byte) error { return errors.New("away") },
		Sync:    func(context.Context, []byte) ([]byte, error) { return nil, errors.New("away") },
	})
	must(t, err)
	s := &session.Session{ID: session.NewID(), Resource: "shop-db", Protocol: "postgres", Workload: w, Started: time.Now()}
	trail, err := log.Session(s)
	must(t, err)
	b.agent = agentKey.Public().(ed25519.PublicKey)
	roster := b.roster(t)
	b.people = roster
	b.desk = approval.NewDesk(approval.Config{
		BreakGlass: func() []byte { return b.token }, Preapprovals: func() [][]byte { return b.reviewed },
		Key: agentKey, Log: zap.NewNop(), Late: func(string, []byte) {},
		Roster: func() *approval.Roster { return roster },
		Send: func(_ context.Context, _ string, signed []byte) error {
			b.sent <- signed
			return nil
		},
	})
	b.guard = guard.New(guard.Config{
		Session: s, Policy: func() *policy.Policy { return pol }, Trail: trail, Desk: b.desk, Agent: "node1", Cluster: "main",
		Hold:    func() (func(), bool) { return func() {}, b.holds },
		Stopped: func() *approval.Order { return b.stopped.Load() },
	})
	return b
}

// roster makes an approver with a key of their own.
func (b *bench) roster(t *testing.T) *approval.Roster {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	b.key = private
	line, err := ssh.NewPublicKey(public)
	must(t, err)
	return &approval.Roster{Version: 1, NotAfter: time.Now().Add(time.Hour), Approvers: []approval.Approver{{
		Name:     "approver",
		Accounts: []approval.Account{{Issuer: "https://ci.example.com", Subject: "approver"}},
		Groups:   []string{"dba"},
		Keys:     []string{string(ssh.MarshalAuthorizedKey(line))},
	}}}
}

// vote answers the next request that reaches the collector.
func (b *bench) vote(t *testing.T, decision approval.Decision) {
	t.Helper()
	b.voteFor(t, decision, approval.Once)
}

// entries counts what the spool holds.
func (b *bench) entries(t *testing.T) (n int) {
	t.Helper()
	for at := spool.Position(0); ; n++ {
		entry, ok, err := b.spool.Read(at)
		must(t, err)
		if !ok {
			return n
		}
		at = entry.Next
	}
}

func verified() workload.Workload {
	return workload.Workload{Assurance: workload.Verified, Verified: map[string]any{
		"iss": "https://ci.example.com", "sub": "repo:acme/shop", "actor_id": "1001",
	}}
}

func statement(kind string, class operation.Class) *operation.Operation {
	return &operation.Operation{
		Kind: operation.Statement, Text: operation.Text(kind + " x"), Bytes: []byte(kind + " x"), Parsed: true,
		SQL: &operation.SQL{Statements: []operation.SQLStatement{{Kind: kind, Class: class}}},
	}
}

func (b *bench) decide(t *testing.T, ctx context.Context, op *operation.Operation) (protocol.Decision, error) {
	t.Helper()
	x, err := b.guard.Begin(ctx, op)
	must(t, err)
	decision, err := x.Decide(ctx, func(protocol.Waiting) {})
	must(t, x.Done(protocol.Outcome{Status: protocol.OK}))
	return decision, err
}

func TestWhatNoRuleMatchesIsAllowedAfterItsIntent(t *testing.T) {
	b := newBench(t, verified())
	before := b.entries(t)
	decision, err := b.decide(t, t.Context(), statement("SELECT", operation.Read))
	must(t, err)
	if decision.Effect != protocol.Allow {
		t.Errorf("got %+v", decision)
	}
	if b.entries(t) == before {
		t.Error("nothing was recorded")
	}
}

func TestDeniedByRule(t *testing.T) {
	b := newBench(t, verified())
	decision, err := b.decide(t, t.Context(), statement("DROP TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Deny || decision.Rule != "no-drops" || decision.Reason != "Not here." {
		t.Errorf("got %+v", decision)
	}
}

func TestLimitOnRowsComesWithTheDecision(t *testing.T) {
	b := newBench(t, verified())
	want := protocol.RowLimit{Rows: 5, Rule: "few-rows", Reason: "Ask."}
	decision, err := b.decide(t, t.Context(), statement("DELETE", operation.Write))
	must(t, err)
	if decision.Effect != protocol.Allow || decision.Limit == nil || *decision.Limit != want {
		t.Errorf("got %+v, %+v", decision, decision.Limit)
	}
	if decision, err = b.decide(t, t.Context(), statement("UPDATE", operation.Write)); err != nil || decision.Limit != nil {
		t.Errorf("got %+v, %v", decision, err)
	}
}

func TestOnlyWhatNeedsNoWaitIsDecidedNow(t *testing.T) {
	b := newBench(t, verified())
	read, write := statement("SELECT", operation.Read), statement("UPDATE", operation.Write)
	read.ReadOnly = true
	held, denied := statement("ALTER TABLE", operation.DDL), statement("DROP TABLE", operation.DDL)
	held.ReadOnly, denied.ReadOnly = true, true // as far as the disk is concerned
	for _, test := range []struct {
		op     *operation.Operation
		now    bool
		effect protocol.Effect
	}{{read, true, protocol.Allow}, {write, false, protocol.Deny}, {held, false, protocol.Deny}, {denied, true, protocol.Deny}} {
		x, err := b.guard.Begin(t.Context(), test.op)
		must(t, err)
		before := b.entries(t)
		decision, now, err := x.DecideNow()
		must(t, err)
		if now != test.now || decision.Effect != test.effect || (b.entries(t) > before) != now {
			t.Errorf("%s: %+v, now %v, %d entries more", test.op.Text, decision, now, b.entries(t)-before)
		}
	}
}

func TestDecideFollowsWhatWasNotDecidedNow(t *testing.T) {
	b := newBench(t, verified())
	x, err := b.guard.Begin(t.Context(), statement("UPDATE", operation.Write))
	must(t, err)
	if _, now, err := x.DecideNow(); now || err != nil {
		t.Fatalf("now %v, %v", now, err)
	}
	decision, err := x.Decide(t.Context(), nil)
	must(t, err)
	if decision.Effect != protocol.Allow {
		t.Errorf("got %+v", decision)
	}
	if _, _, err := x.DecideNow(); err == nil {
		t.Error("it was decided twice")
	}
}

func TestFullSpoolRefuses(t *testing.T) {
	b := newBench(t, verified())
	op := statement("SELECT", operation.Read)
	op.Text = operation.Text(strings.Repeat("x", 40<<10))
	for range 1000 {
		x, err := b.guard.Begin(t.Context(), op)
		must(t, err)
		decision, err := x.Decide(t.Context(), nil)
		if errors.Is(err, spool.ErrFull) {
			if decision.Effect != protocol.Deny {
				t.Error("an error came with an allow")
			}
			return
		}
		must(t, err)
	}
	t.Fatal("the spool never became full")
}

func TestHeldUntilAPersonSaysYes(t *testing.T) {
	b := newBench(t, verified())
	go b.vote(t, approval.Approve)
	decision, err := b.decide(t, t.Context(), statement("ALTER TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Allow || decision.Decider != "approver" || decision.Rule != "ask-for-ddl" {
		t.Errorf("got %+v", decision)
	}
}

func TestNobodyIsAskedAboutAStatementOfAnUnknownRole(t *testing.T) {
	b := newBench(t, verified())
	op := statement("ALTER TABLE", operation.DDL)
	op.Context.Unknown = true
	decision, err := b.decide(t, t.Context(), op)
	must(t, err)
	if decision.Effect != protocol.Deny || !strings.Contains(decision.Reason, "role") {
		t.Errorf("got %+v", decision)
	}
}

func TestRequestShowsWhatNamesMean(t *testing.T) {
	b := newBench(t, verified())
	op := statement("ALTER TABLE", operation.DDL)
	op.Context = operation.Context{Database: "shop", Role: "clerk", SearchPath: "moved"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		request, err := approval.OpenRequest(<-b.sent, b.agent)
		if err != nil || request.Where != (approval.Where{Database: "shop", Role: "clerk", SearchPath: "moved"}) {
			t.Errorf("the request says %+v, %v", request.Where, err)
		}
		cancel()
	}()
	decision, err := b.decide(t, ctx, op)
	must(t, err)
	if decision.Effect == protocol.Allow {
		t.Errorf("got %+v", decision)
	}
}

func TestAPersonsNoIsFinal(t *testing.T) {
	b := newBench(t, verified())
	go b.vote(t, approval.Deny)
	decision, err := b.decide(t, t.Context(), statement("ALTER TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Deny || decision.Reason != "seen" || decision.Decider != "approver" {
		t.Errorf("got %+v", decision)
	}
}

func TestClientThatLeavesWithdrawsItsRequest(t *testing.T) {
	b := newBench(t, verified())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-b.sent
		cancel()
	}()
	decision, err := b.decide(t, ctx, statement("ALTER TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Deny {
		t.Errorf("got %+v", decision)
	}
}

func TestNobodyIsAskedWhenFourEyesCannotBeProven(t *testing.T) {
	b := newBench(t, workload.Workload{Assurance: workload.Orchestrated, Verified: map[string]any{}})
	decision, err := b.decide(t, t.Context(), statement("ALTER TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Deny || !strings.Contains(decision.Reason, "no verified claim") {
		t.Errorf("got %+v", decision)
	}
	if len(b.sent) != 0 {
		t.Error("somebody was asked")
	}
}

func TestNothingOfAStoppedSessionIsAllowed(t *testing.T) {
	b := newBench(t, verified())
	b.stopped.Store(&approval.Order{Kind: approval.Kill, By: "ada", Reason: "it digs"})
	decision, err := b.decide(t, t.Context(), statement("SELECT", operation.Read))
	must(t, err)
	if decision.Effect != protocol.Deny || decision.Rule != policy.RuleStopped || !strings.Contains(decision.Reason, "ada ordered kill: it digs") {
		t.Errorf("got %+v", decision)
	}
}

func TestWhatIsStoppedWhileItIsHeldIsNotAllowedByALaterYes(t *testing.T) {
	b := newBench(t, verified())
	go func() {
		b.stopped.Store(&approval.Order{Kind: approval.Quarantine, By: "ada"})
		b.vote(t, approval.Approve)
	}()
	decision, err := b.decide(t, t.Context(), statement("ALTER TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Deny || decision.Rule != policy.RuleStopped {
		t.Errorf("got %+v", decision)
	}
}

func TestHoldsOfOneWorkloadAreBounded(t *testing.T) {
	b := newBench(t, verified())
	b.holds = false
	decision, err := b.decide(t, t.Context(), statement("ALTER TABLE", operation.DDL))
	must(t, err)
	if decision.Effect != protocol.Deny || !strings.Contains(decision.Reason, "too many") {
		t.Errorf("got %+v", decision)
	}
}

func TestExchangeKeepsItsOrder(t *testing.T) {
	b := newBench(t, verified())
	x, err := b.guard.Begin(t.Context(), statement("SELECT", operation.Read))
	must(t, err)
	if x.Record(protocol.Response, 0, []byte("x")) == nil {
		t.Error("a chunk was recorded before the decision")
	}
	if x.Done(protocol.Outcome{}) == nil || x.Finish(0, []byte("x"), protocol.Outcome{}) == nil {
		t.Error("it ended before the decision")
	}
	_, err = x.Decide(t.Context(), nil)
	must(t, err)
	if again, err := x.Decide(t.Context(), nil); err == nil || again.Effect != protocol.Deny {
		t.Error("it was decided twice")
	}
	must(t, x.Record(protocol.Response, 0, []byte("x")))
	must(t, x.Finish(0, []byte("x"), protocol.Outcome{Status: protocol.OK}))
	if x.Done(protocol.Outcome{}) == nil || x.Finish(0, []byte("x"), protocol.Outcome{}) == nil {
		t.Error("it ended twice")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
