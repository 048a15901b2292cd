package approval_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
)

// office is a desk, a collector that only remembers what it was sent, and the
// witness of one request.
type office struct {
	*people
	desk *approval.Desk

	mu       sync.Mutex
	sent     []time.Time         // guarded by mu
	signed   []byte              // guarded by mu
	late     int                 // guarded by mu
	away     bool                // the collector takes nothing; guarded by mu
	progress []approval.Progress // guarded by mu
	voted    []string            // guarded by mu
	refuse   error               // what the witness answers to a vote
}

func newOffice(t *testing.T) *office {
	o := &office{people: newPeople(t)}
	o.desk = approval.NewDesk(approval.Config{
		BreakGlass: func() []byte { return nil }, Preapprovals: func() [][]byte { return nil },
		Key: o.agent, Log: zap.NewNop(),
		Roster: func() *approval.Roster { return &o.roster },
		Send: func(_ context.Context, _ string, signed []byte) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.sent = append(o.sent, time.Now())
			if o.away {
				return errors.New("no servers available")
			}
			o.signed = signed
			return nil
		},
		Late: func(string, []byte) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.late++
		},
	})
	return o
}

func (o *office) witness() approval.Witness {
	return approval.Witness{
		Requested: func([]byte) error { return nil },
		Waiting: func(p approval.Progress) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.progress = append(o.progress, p)
		},
		Voted: func(v approval.Vote, _ []byte) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.voted = append(o.voted, v.Approver)
			return o.refuse
		},
	}
}

// told is how often the client was told that it waits.
func (o *office) told() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.progress)
}

// answer is what Ask returned.
type answer struct {
	approval.Settlement
	err error
}

// ask starts Ask and returns once the request is with the collector.
func (o *office) ask(ctx context.Context, r approval.Request) chan answer {
	done := make(chan answer, 1)
	go func() {
		s, err := o.desk.Ask(ctx, r, o.witness())
		done <- answer{s, err}
	}()
	synctest.Wait()
	return done
}

func (o *office) deliver(t *testing.T, id string, u approval.Update) {
	t.Helper()
	message, err := approval.EncodeUpdate(u)
	if err != nil {
		t.Fatal(err)
	}
	o.desk.Deliver(id, message)
	synctest.Wait()
}

func TestApprovedRequestNamesNumberAndDecider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		done := o.ask(t.Context(), r)
		o.deliver(t, r.ID, approval.Update{Number: 12})
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		got := <-done
		if got.err != nil || got.State != approval.Approved || got.Number != 12 || !slices.Equal(got.Deciders, []string{"ann"}) || len(got.Votes) != 1 {
			t.Errorf("settlement: %+v", got)
		}
		if !slices.Equal(o.voted, []string{"ann"}) {
			t.Errorf("witnessed votes of %v", o.voted)
		}
	})
}

func TestDenyNamesWhoAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(2)
		done := o.ask(t.Context(), r)
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "bob", approval.Deny)})
		got := <-done
		if got.err != nil || got.State != approval.Denied || !slices.Equal(got.Deciders, []string{"bob"}) || got.Reason != "seen" {
			t.Errorf("settlement: %+v", got)
		}
	})
}

func TestNobodyAnswersUntilDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		o.away = true
		began := time.Now()
		done := o.ask(t.Context(), r)
		if o.told() != 1 {
			t.Errorf("the client was told %d times at once, want 1", o.told())
		}
		got := <-done
		if got.err != nil || got.State != approval.Expired || len(got.Deciders) != 0 {
			t.Errorf("settlement: %+v", got)
		}
		if lasted := time.Since(began); lasted != 10*time.Minute {
			t.Errorf("held for %s, want 10m", lasted)
		}
		if n := o.told(); n < 119 || n > 121 {
			t.Errorf("the client was told %d times in ten minutes, want about 120", n)
		}
		if n := len(o.sent); n < 599 || n > 601 {
			t.Errorf("tried to send %d times in ten minutes, want about 600", n)
		}
	})
}

func TestRequestIsSentAgainWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		got := <-o.ask(t.Context(), r)
		if n := len(o.sent); got.State != approval.Expired || n < 60 || n > 61 {
			t.Errorf("%s after sending %d times, want expired after about 60", got.State, n)
		}
	})
}

func TestClientThatLeavesWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := o.ask(ctx, r)
		cancel()
		if got := <-done; got.err != nil || got.State != approval.Withdrawn {
			t.Errorf("settlement: %+v", got)
		}
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		if o.late != 1 {
			t.Errorf("%d late votes were reported, want 1", o.late)
		}
	})
}

func TestVoteTogetherWithCancelDoesNotRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			o, r := newOffice(t), request(1)
			ctx, cancel := context.WithCancel(t.Context())
			done := o.ask(ctx, r)
			message, err := approval.EncodeUpdate(approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			o.desk.Deliver(r.ID, message)
			if got := <-done; got.State != approval.Withdrawn {
				t.Fatalf("settlement: %+v", got)
			}
		}
	})
}

func TestLateVoteIsReportedAndReleasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		got := <-o.ask(t.Context(), r)
		if got.State != approval.Expired {
			t.Fatalf("settlement: %+v", got)
		}
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		o.deliver(t, r.ID, approval.Update{Number: 9})
		o.deliver(t, approval.NewID(), approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		if o.late != 1 || len(o.voted) != 0 {
			t.Errorf("%d late, %d counted; want 1 and 0", o.late, len(o.voted))
		}
	})
}

func TestHostileBusReleasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a, b := newOffice(t), request(1), request(1)
		doneA := o.ask(t.Context(), a)
		signedA := o.signed
		doneB := o.ask(t.Context(), b)

		o.deliver(t, b.ID, approval.Update{Number: 1})
		o.deliver(t, b.ID, approval.Update{Number: 2})
		o.deliver(t, b.ID, approval.Update{Vote: o.vote(t, signedA, "ann", approval.Approve)})
		o.deliver(t, b.ID, approval.Update{Vote: []byte("junk")})
		for _, junk := range []string{"", "{}", `{"number":1,"vote":"AA=="}`, `{"state":"approved"}`, `{"number":-1}`, `null`} {
			o.desk.Deliver(b.ID, []byte(junk))
		}
		o.deliver(t, a.ID, approval.Update{Vote: o.vote(t, signedA, "ann", approval.Approve)})

		if got := <-doneA; got.State != approval.Approved {
			t.Errorf("A: %+v", got)
		}
		if got := <-doneB; got.State != approval.Expired || got.Number != 1 {
			t.Errorf("B: %+v, want expired with its first number", got)
		}
	})
}

func TestFloodOfJunkIsNotShownToClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		done := o.ask(t.Context(), r)
		for range 1000 {
			o.deliver(t, r.ID, approval.Update{Vote: []byte("junk")})
		}
		if o.told() != 1 {
			t.Errorf("the client was told %d times, want 1", o.told())
		}
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		if got := <-done; got.State != approval.Approved {
			t.Errorf("settlement: %+v", got)
		}
	})
}

func TestOneRequestIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		done := o.ask(t.Context(), r)
		if _, err := o.desk.Ask(t.Context(), r, o.witness()); err == nil {
			t.Error("asked twice at a time")
		}
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		if got := <-done; got.State != approval.Approved {
			t.Fatalf("settlement: %+v", got)
		}
		if s, err := o.desk.Ask(t.Context(), r, o.witness()); err == nil {
			t.Errorf("asked again after it was used: %+v", s)
		}
	})
}

func TestVoteThatCannotBeRecordedReleasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		o.refuse = errors.New("spool is full")
		done := o.ask(t.Context(), r)
		o.deliver(t, r.ID, approval.Update{Vote: o.vote(t, o.signed, "ann", approval.Approve)})
		if got := <-done; !errors.Is(got.err, o.refuse) || got.State != "" {
			t.Errorf("answer: %+v", got)
		}
	})
}

func TestNobodyIsAskedBeforeTheRequestIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		witness := o.witness()
		witness.Requested = func([]byte) error { return errors.New("spool is full") }
		if s, err := o.desk.Ask(t.Context(), request(1), witness); err == nil || len(o.sent) != 0 || o.told() != 0 {
			t.Errorf("settlement %+v, %v; sent %d times", s, err, len(o.sent))
		}
	})
}

func TestUnknownTriggerIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOffice(t), request(1)
		r.Trigger = nil
		if s, err := o.desk.Ask(t.Context(), r, o.witness()); err == nil || len(o.sent) != 0 {
			t.Errorf("settlement %+v, %v; sent %d times", s, err, len(o.sent))
		}
	})
}
