package store_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
)

// alter changes the database behind the store's back.
func alter(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "collector.db"))
	check(t, err)
	_, err = db.Exec(statement)
	check(t, errors.Join(err, db.Close()))
}

func (f *fixture) ask(id string) uint64 {
	f.t.Helper()
	number, added, err := f.AddApproval(f.t.Context(), question(id))
	check(f.t, err)
	if !added {
		f.t.Fatalf("%s was there already", id)
	}
	return number
}

func question(id string) view.Approval {
	return view.Approval{
		ID: id, Agent: "node-1", Session: "s", Operation: 1, Resource: "shop-db", Rule: "r", Text: "ALTER TABLE orders",
		Requested: time.Now(), NotAfter: time.Now().Add(time.Minute), Request: []byte("signed " + id),
	}
}

func vote(approver string) view.Vote {
	return view.Vote{Approver: approver, Decision: "approve", At: time.Now(), Signed: []byte("vote of " + approver)}
}

func becomes(state string) func(view.Approval) (string, error) {
	return func(view.Approval) (string, error) { return state, nil }
}

func TestRequestThatComesAgainKeepsItsNumber(t *testing.T) {
	f := open(t)
	number := f.ask("a")
	again, added, err := f.AddApproval(t.Context(), question("a"))
	check(t, err)
	if added || again != number {
		t.Errorf("number %d, new %v; was %d", again, added, number)
	}
	other := question("a")
	other.Request = []byte("another")
	if _, _, err := f.AddApproval(t.Context(), other); !errors.Is(err, store.ErrOtherRequest) {
		t.Errorf("another request under the same id: %v", err)
	}
	thief := question("a")
	thief.Agent = "node-2"
	if _, _, err := f.AddApproval(t.Context(), thief); !errors.Is(err, store.ErrOtherRequest) {
		t.Errorf("another agent's id: %v", err)
	}
}

func TestOneOfManyVotesAtOnceEndsAnApproval(t *testing.T) {
	f := open(t)
	number := f.ask("a")
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 50 {
		wg.Go(func() {
			err := f.AddVote(t.Context(), number, vote(string(rune('A'+i))), becomes("approved"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, store.ErrSettled):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	a, err := f.Approval(t.Context(), view.Everything(), number)
	check(t, err)
	if won != 1 || len(a.Votes) != 1 || a.State != "approved" {
		t.Errorf("%d votes won, %d are kept, state %s", won, len(a.Votes), a.State)
	}
}

func TestVoteThatDoesNotCountChangesNothing(t *testing.T) {
	f := open(t)
	number := f.ask("a")
	refused := errors.New("refused")
	err := f.AddVote(t.Context(), number, vote("ada"), func(view.Approval) (string, error) { return "", refused })
	if !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	a, err := f.Approval(t.Context(), view.Everything(), number)
	check(t, err)
	if len(a.Votes) != 0 || a.State != "pending" {
		t.Errorf("%d votes, state %s", len(a.Votes), a.State)
	}
	if err := f.AddVote(t.Context(), number+1, vote("ada"), becomes("approved")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("vote on nothing: %v", err)
	}
}

func TestApprovalPastItsDeadlineTakesNoVote(t *testing.T) {
	f := open(t)
	late := question("late")
	late.NotAfter = time.Now().Add(-time.Second)
	number, _, err := f.AddApproval(t.Context(), late)
	check(t, err)
	if err := f.AddVote(t.Context(), number, vote("ada"), becomes("approved")); !errors.Is(err, store.ErrSettled) {
		t.Errorf("late vote: %v", err)
	}
	f.ask("open")
	for state, want := range map[string]int{"pending": 1, "expired": 1, "": 2, "approved": 0} {
		list, err := f.Approvals(t.Context(), store.ApprovalFilter{Sees: view.Everything(), State: state, Limit: 10})
		check(t, err)
		if len(list) != want {
			t.Errorf("%d approvals of state %q, want %d", len(list), state, want)
		}
	}
	open, err := f.OpenApprovals(t.Context(), "node-1")
	check(t, err)
	if len(open) != 1 || open[0].ID != "open" {
		t.Errorf("open: %+v", open)
	}
}

func TestAgentSettlesItsOwnApprovalOnly(t *testing.T) {
	f := open(t)
	mine := f.ask("mine")
	foreign := question("foreign")
	foreign.Agent = "node-2"
	theirs, _, err := f.AddApproval(t.Context(), foreign)
	check(t, err)
	s := collectortest.NewSession(time.Now())
	settled := func(id string) collectortest.Record {
		return s.Approval(record.ApprovalSettled, record.Approval{ID: id, State: "withdrawn"})
	}
	f.add(s.Opened(), settled("mine"), settled("foreign"))
	for number, want := range map[uint64]string{mine: "withdrawn", theirs: "pending"} {
		a, err := f.Approval(t.Context(), view.Everything(), number)
		check(t, err)
		if a.State != want {
			t.Errorf("approval of %s: %s, want %s", a.Agent, a.State, want)
		}
	}
}

func TestApprovalOfADeadEpochIsAbandoned(t *testing.T) {
	f := open(t)
	s := collectortest.NewSession(time.Now())
	f.add(s.Opened())
	old := question("old")
	old.Session = s.ID
	number, _, err := f.AddApproval(t.Context(), old)
	check(t, err)
	fresh := f.ask("fresh") // of a session that is not recorded yet
	f.node.Restart(record.Recover)
	f.add()
	for number, want := range map[uint64]string{number: "abandoned", fresh: "pending"} {
		a, err := f.Approval(t.Context(), view.Everything(), number)
		check(t, err)
		if a.State != want {
			t.Errorf("approval %s: %s, want %s", a.ID, a.State, want)
		}
	}
}
