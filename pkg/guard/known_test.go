package guard_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/workload"
)

// asked returns the request that reaches the collector when an operation is
// held, and approves it.
func (b *bench) asked(t *testing.T, op *operation.Operation) approval.Request {
	t.Helper()
	requests := make(chan approval.Request, 1)
	go func() {
		signed := <-b.sent
		request, err := approval.OpenRequest(signed, b.agent)
		if err != nil {
			t.Error(err)
		}
		requests <- request
		b.sent <- signed
		b.vote(t, approval.Approve)
	}()
	_, err := b.decide(t, t.Context(), op)
	must(t, err)
	return <-requests
}

func (b *bench) with(change func(*guard.Config)) {
	cfg := b.guard.Config
	change(&cfg)
	b.guard = guard.New(cfg)
}

func shaped(kind, relation string, class operation.Class, shape byte) *operation.Operation {
	op := statement(kind, class)
	op.SQL.Shape[0] = shape
	op.SQL.Statements[0].Relations = []string{relation}
	return op
}

func TestWhatAnOperationWouldTouchIsPartOfTheSignedRequest(t *testing.T) {
	b := newBench(t, verified())
	n := int64(7)
	b.with(func(cfg *guard.Config) {
		cfg.Reach = func(ctx context.Context, op *operation.Operation) *operation.Reach {
			if limit, ok := ctx.Deadline(); !ok || time.Until(limit) > 2*time.Second {
				t.Error("the look has no end")
			}
			return &operation.Reach{Statements: []operation.StatementReach{{
				Kind: op.SQL.Statements[0].Kind, Counted: &n, Relations: []operation.RelationReach{{Name: "a\x1b[2Jb", Dependants: []string{"view \u202ev"}}},
			}}}
		}
	})
	reach := b.asked(t, statement("ALTER TABLE", operation.DDL)).Reach
	if reach == nil || len(reach.Statements) != 1 || *reach.Statements[0].Counted != 7 {
		t.Fatalf("got %+v", reach)
	}
	if r := reach.Statements[0].Relations[0]; r.Name != `a\u{001B}[2Jb` || r.Dependants[0] != `view \u{202E}v` {
		t.Errorf("a name of the server's is shown as it is: %+v", r)
	}
}

func TestALookThatTakesTooLongDelaysTheRequestNoFurther(t *testing.T) {
	b := newBench(t, verified())
	b.with(func(cfg *guard.Config) {
		cfg.Reach = func(ctx context.Context, _ *operation.Operation) *operation.Reach {
			<-ctx.Done()
			return &operation.Reach{Unknown: "too late"}
		}
	})
	began := time.Now()
	request := b.asked(t, statement("ALTER TABLE", operation.DDL))
	if request.Reach == nil || request.Reach.Unknown != "too late" || time.Since(began) > 3*time.Second {
		t.Errorf("%+v after %v", request.Reach, time.Since(began))
	}
}

func TestNobodyLooksWhenNobodyIsAsked(t *testing.T) {
	b := newBench(t, verified())
	b.scoped(t, approval.ShapeScope)
	looks := 0
	b.with(func(cfg *guard.Config) {
		cfg.Reach = func(context.Context, *operation.Operation) *operation.Reach { looks++; return nil }
	})
	b.asks(t, alter("a"), approval.ShapeScope)
	if asked, _ := b.asks(t, alter("a"), approval.ShapeScope); asked || looks != 1 {
		t.Errorf("asked %v, %d looks", asked, looks)
	}
	b.holds = false
	_, err := b.decide(t, t.Context(), alter("b"))
	must(t, err)
	if looks != 1 {
		t.Error("it was looked at though it cannot be held")
	}
}

func TestALargeLookIsLeftOutAndNothingElse(t *testing.T) {
	b := newBench(t, verified())
	b.with(func(cfg *guard.Config) {
		cfg.Reach = func(context.Context, *operation.Operation) *operation.Reach {
			var large operation.Reach
			for range 20 {
				s := operation.StatementReach{Kind: "DROP TABLE"}
				for i := range 20 {
					r := operation.RelationReach{Name: fmt.Sprint(i)}
					for range 20 {
						r.Dependants = append(r.Dependants, "view <<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<")
					}
					s.Relations = append(s.Relations, r)
				}
				large.Statements = append(large.Statements, s)
			}
			return &large
		}
	})
	request := b.asked(t, statement("ALTER TABLE", operation.DDL))
	if request.Reach == nil || request.Reach.Unknown == "" || request.Text != "ALTER TABLE x" {
		t.Errorf("got %+v", request)
	}
}

func TestRequestSaysWhatWasDoneBefore(t *testing.T) {
	b := newBench(t, verified())
	var histories guard.Histories
	w := verified()
	history, release := histories.Of(&w)
	b.with(func(cfg *guard.Config) { cfg.History = history })
	for _, op := range []*operation.Operation{
		shaped("SELECT", "orders", operation.Read, 1), shaped("DROP TABLE", "orders", operation.DDL, 2), shaped("UPDATE", "orders", operation.Write, 3),
	} {
		_, err := b.decide(t, t.Context(), op)
		must(t, err)
	}
	for _, outcome := range []protocol.Outcome{{Status: protocol.OK, Masked: 5}, {Status: protocol.Refused}} { // the second by a mask
		x, err := b.guard.Begin(t.Context(), shaped("SELECT", "orders", operation.Read, 1))
		must(t, err)
		_, err = x.Decide(t.Context(), nil)
		must(t, err)
		must(t, x.Done(outcome))
	}
	first := b.asked(t, shaped("ALTER TABLE", "orders", operation.DDL, 4)).Before
	if first == nil || first.Operations != 5 || first.Denied != 2 || first.Masked != 5 || first.Same != 0 || !first.Whole || !slices.Equal(first.First, []string{"ALTER TABLE orders"}) {
		t.Errorf("the first time: %+v", first)
	}
	release()
	again, release := histories.Of(&w)
	defer release()
	b.another()
	b.with(func(cfg *guard.Config) { cfg.History = again })
	if second := b.asked(t, shaped("ALTER TABLE", "orders", operation.DDL, 4)).Before; second.Operations != 0 || second.Same != 1 || len(second.First) != 0 {
		t.Errorf("in another session of the job: %+v", second)
	}
	other := workload.Workload{Kernel: workload.KernelFacts{NetnsCookie: 9}}
	stranger, forget := histories.Of(&other)
	defer forget()
	b.with(func(cfg *guard.Config) { cfg.History = stranger })
	if third := b.asked(t, shaped("ALTER TABLE", "orders", operation.DDL, 4)).Before; third.Same != 0 || len(third.First) != 1 {
		t.Errorf("of another job: %+v", third)
	}
}

func TestAJobThatNeverSaysTheSameIsNotRememberedWithoutEnd(t *testing.T) {
	b := newBench(t, verified())
	var histories guard.Histories
	w := verified()
	history, release := histories.Of(&w)
	defer release()
	b.with(func(cfg *guard.Config) { cfg.History = history })
	for i := range 1100 {
		op := shaped("SELECT", fmt.Sprint("t", i), operation.Read, 0)
		op.ReadOnly = true
		op.SQL.Shape[0], op.SQL.Shape[1] = byte(i), byte(i>>8)+1
		_, err := b.decide(t, t.Context(), op)
		must(t, err)
	}
	if before := b.asked(t, shaped("ALTER TABLE", "orders", operation.DDL, 4)).Before; before.Whole {
		t.Errorf("it claims to remember all: %+v", before)
	}
}
