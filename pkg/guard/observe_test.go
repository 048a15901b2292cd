package guard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
)

// observing makes the bench's guard observe only. lost collects what could not
// be recorded.
func (b *bench) observing() (lost *[]error) {
	cfg := b.guard.Config
	lost = new([]error)
	cfg.Observe, cfg.Lost = true, func(err error) { *lost = append(*lost, err) }
	b.guard = guard.New(cfg)
	return lost
}

func TestObservedOperationGoesOnAndTheRecordSaysWhatWouldHaveBeen(t *testing.T) {
	for kind, want := range map[string]string{"SELECT": "allow", "DROP TABLE": "deny", "ALTER TABLE": "hold"} {
		b := newBench(t, verified())
		lost := b.observing()
		class := operation.DDL
		if kind == "SELECT" {
			class = operation.Read
		}
		decision, err := b.decide(t, t.Context(), statement(kind, class))
		must(t, err)
		if decision.Effect != protocol.Allow || len(*lost) != 0 || len(b.sent) != 0 {
			t.Errorf("%s: got %+v, lost %v, asked %d", kind, decision, *lost, len(b.sent))
		}
		var intent *record.Intent
		for _, h := range b.headers(t) {
			if h.Intent != nil {
				intent = h.Intent
			}
		}
		if intent == nil || intent.Effect != want || !intent.Observed {
			t.Errorf("%s: recorded %+v", kind, intent)
		}
		must(t, b.guard.Close("peer"))
		closed := b.headers(t)
		if c := closed[len(closed)-1].Closed; c == nil || c.Denied != 0 || c.Operations != 1 {
			t.Errorf("%s: closed as %+v", kind, c)
		}
	}
}

func TestObservedOperationGoesOnWhenNothingCanBeRecorded(t *testing.T) {
	b := newBench(t, verified())
	lost := b.observing()
	op := statement("SELECT", operation.Read)
	op.Text = operation.Text(strings.Repeat("x", 40<<10))
	for len(*lost) == 0 {
		decision, err := b.decide(t, t.Context(), op)
		must(t, err)
		if decision.Effect != protocol.Allow {
			t.Fatalf("got %+v", decision)
		}
	}
	if !errors.Is((*lost)[0], spool.ErrFull) {
		t.Errorf("lost %v", (*lost)[0])
	}
	cfg := b.guard.Config
	cfg.Trail = nil // its opening could not be recorded
	b.guard = guard.New(cfg)
	decision, err := b.decide(t, t.Context(), op)
	must(t, errors.Join(err, b.guard.Close("peer")))
	if decision.Effect != protocol.Allow {
		t.Errorf("got %+v", decision)
	}
}

// TestWhatNobodyReadsIsCountedAndPolicyIsNotAsked: where a resource is only
// observed it goes on, and where policy is enforced it does not.
func TestWhatNobodyReadsIsCountedAndPolicyIsNotAsked(t *testing.T) {
	unread := func() *operation.Operation {
		return &operation.Operation{Kind: operation.Unread, Unread: "encrypted by the job", Text: operation.Text("TLS for db.example.com")}
	}
	b := newBench(t, verified())
	decision, err := b.decide(t, t.Context(), unread())
	must(t, err)
	if decision.Effect != protocol.Deny || decision.Reason != "where policy is enforced nothing passes unread" {
		t.Errorf("where policy is enforced: %+v", decision)
	}
	b.observing()
	told := 0
	cfg := b.guard.Config
	cfg.Unread = func() { told++ }
	b.guard = guard.New(cfg)
	decision, err = b.decide(t, t.Context(), unread())
	must(t, err)
	var in *record.Intent
	for _, h := range b.headers(t) {
		if h.Intent != nil {
			in = h.Intent
		}
	}
	if decision.Effect != protocol.Allow || told != 1 || in == nil {
		t.Fatalf("got %+v, told %d times, %+v", decision, told, in)
	}
	if in.Kind != "unread" || in.Effect != "allow" || !in.Observed || in.Parsed || in.Reason != "encrypted by the job" || in.Rule != "" {
		t.Errorf("recorded %+v", in)
	}
}

// headers returns the header of each record in the spool.
func (b *bench) headers(t *testing.T) (all []record.Header) {
	t.Helper()
	for at := spool.Position(0); ; {
		entry, ok, err := b.spool.Read(at)
		must(t, err)
		if !ok {
			return all
		}
		at = entry.Next
		const stamp = 16 // what the audit log writes before a header
		if len(entry.Head) < stamp {
			continue
		}
		if h, err := record.DecodeHeader(entry.Head[stamp:]); err == nil {
			all = append(all, h)
		}
	}
}
