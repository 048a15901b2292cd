package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/workload"
)

// team adds a session with one statement for a resource and a repository that
// a verified token names.
func (f *fixture) team(resource, repository, text string) string {
	f.t.Helper()
	s := collectortest.NewSession(time.Now())
	opened := s.Opened()
	opened.Header.Opened.Resource = resource
	w := &opened.Header.Opened.Workload
	w.Assurance = workload.Verified
	w.Verified = map[string]any{"repository": repository, "run_id": "1"}
	f.add(append([]collectortest.Record{opened}, s.Query(text, "n", "1")...)...)
	return s.ID
}

func TestTeamSeesNothingOfAnotherTeams(t *testing.T) {
	f := open(t)
	f.indexing()
	ours := f.team("shop-db", "acme/shop", "SELECT needle")
	theirs := f.team("shop-db", "acme/wiki", "SELECT needle")
	elsewhere := f.team("hr-db", "acme/shop", "SELECT needle")
	sees := view.NewScope(view.Pair{Resources: []string{"shop-db"}, Repositories: []string{"acme/shop"}})
	all, err := f.Sessions(t.Context(), store.Filter{Sees: sees})
	check(t, err)
	if len(all) != 1 || all[0].ID != ours || all[0].Repository != "acme/shop" || all[0].Run != "verified:acme/shop/1" {
		t.Errorf("sessions: %+v", all)
	}
	for _, id := range []string{theirs, elsewhere} {
		_, one := f.Session(t.Context(), sees, id)
		_, records := f.Records(t.Context(), sees, id, "", store.PageBytes)
		_, bundle := f.SessionBundle(t.Context(), sees, id)
		_, page := f.Sessions(t.Context(), store.Filter{Sees: sees, Before: id})
		for _, err := range []error{one, records, bundle, page} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	found, err := f.Search(t.Context(), store.Query{Sees: sees, Words: "needle", Limit: 1})
	check(t, err)
	if len(found.Hits) != 1 || found.Hits[0].Session != ours {
		t.Errorf("search: %+v", found)
	}
	runs, err := f.Runs(t.Context(), sees, "", 10)
	check(t, err)
	if len(runs) != 1 || runs[0].Sessions != 1 || runs[0].Operations != 1 || len(runs[0].Resources) != 1 {
		t.Errorf("a run shows what others did: %+v", runs)
	}
	if nothing, err := f.Sessions(t.Context(), store.Filter{}); err != nil || len(nothing) != 0 {
		t.Errorf("a filter without a scope sees %d sessions, %v", len(nothing), err)
	}
	org := view.NewScope(view.Pair{Repositories: []string{"acme/*"}})
	if three, err := f.Sessions(t.Context(), store.Filter{Sees: org}); err != nil || len(three) != 3 {
		t.Errorf("all of acme: %d sessions, %v", len(three), err)
	}
}

func TestPagesJoinWithoutGapOrRepetition(t *testing.T) {
	f := open(t)
	f.indexing()
	want := map[string]bool{}
	at := time.Now()
	for i := range 25 {
		s := collectortest.NewSession(at.Add(time.Duration(i/3) * time.Second)) // some begin together
		opened := s.Opened()
		opened.Header.Opened.Workload.Kernel.Container = fmt.Sprintf("c%d", i)
		f.add(append([]collectortest.Record{opened}, s.Query("SELECT needle", "n")...)...)
		want[s.ID] = true
	}
	sessions, runs, hits := map[string]bool{}, map[string]bool{}, map[int64]bool{}
	for _, sees := range []view.Scope{view.Everything(), view.NewScope(view.Pair{Resources: []string{"shop-db", "hr-db"}})} {
		clear(sessions)
		for before := ""; ; {
			page, err := f.Sessions(t.Context(), store.Filter{Sees: sees, Limit: 4, Before: before})
			check(t, err)
			for _, s := range page {
				sessions[s.ID] = true
				before = s.ID
			}
			if len(page) < 4 {
				break
			}
		}
		if len(sessions) != 25 {
			t.Errorf("%+v sees %d sessions of 25", sees, len(sessions))
		}
	}
	for before := ""; ; {
		page, err := f.Runs(t.Context(), view.Everything(), before, 4)
		check(t, err)
		for _, r := range page {
			runs[r.ID] = true
			before = r.ID
		}
		if len(page) < 4 {
			break
		}
	}
	for before := int64(0); ; {
		page, err := f.Search(t.Context(), store.Query{Sees: view.Everything(), Words: "needle", Limit: 4, Before: before})
		check(t, err)
		for _, h := range page.Hits {
			hits[h.Index<<20|int64(h.No)] = true
		}
		if before = page.Next; before == 0 {
			break
		}
	}
	if len(runs) != 25 || len(hits) != 25 {
		t.Errorf("%d runs, %d hits of 25 each", len(runs), len(hits))
	}
}

func TestTeamFindsItsFewAmongManyNewerOnes(t *testing.T) {
	f := open(t)
	at := time.Now().Add(-3 * time.Hour)
	add := func(n int, repository string) (ids []string) {
		var all []collectortest.Record
		for range n {
			s := collectortest.NewSession(at)
			at = at.Add(time.Second)
			opened := s.Opened()
			w := &opened.Header.Opened.Workload
			w.Assurance, w.Verified = workload.Verified, map[string]any{"repository": repository}
			all = append(all, opened)
			ids = append(ids, s.ID)
		}
		f.add(all...)
		return ids
	}
	add(1, "acme/wiki")
	ours := add(5, "acme/shop")
	for range 6 {
		add(1000, "acme/wiki")
	}
	for _, sees := range []view.Scope{
		view.NewScope(view.Pair{Repositories: []string{"acme/shop"}}),
		view.NewScope(view.Pair{Repositories: []string{"acme/shop"}}, view.Pair{Resources: []string{"hr-db"}}),
		view.NewScope(view.Pair{Repositories: []string{"acme/shop/*", "acme/shop"}}),
	} {
		for _, filter := range []store.Filter{{}, {Open: true}, {Protocol: "postgres"}, {Agent: "node-1"}, {Resource: "shop-db"}, {Repository: "acme/shop"}} {
			filter.Sees, filter.Limit = sees, 3
			page, err := f.Sessions(t.Context(), filter)
			check(t, err)
			if len(page) != 3 || page[0].ID != ours[4] || page[2].ID != ours[2] {
				t.Fatalf("%+v: %d sessions: %+v", filter, len(page), page)
			}
			filter.Before = ours[2]
			if page, err = f.Sessions(t.Context(), filter); err != nil || len(page) != 2 || page[1].ID != ours[0] {
				t.Errorf("%+v: %v, %d sessions", filter, err, len(page))
			}
		}
	}
}

func TestLoginEndsByItsCookieIdlenessAndAge(t *testing.T) {
	f := open(t)
	now := time.Now()
	ctx := t.Context()
	check(t, f.AddLogin(ctx, []byte("first"), nil, store.Login{Person: []byte("{}"), Created: now, Proven: now}))
	if _, err := f.Login(ctx, []byte("first"), time.Hour, time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, limits := range map[string][2]time.Duration{"idle": {0, time.Hour}, "old": {time.Hour, 0}} {
		if _, err := f.Login(ctx, []byte("first"), limits[0], limits[1]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(t, f.AddLogin(ctx, []byte("second"), []byte("first"), store.Login{Person: []byte("{}"), Created: now, Proven: now}))
	if _, err := f.Login(ctx, []byte("first"), time.Hour, time.Hour); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the cookie before the new login: %v", err)
	}
	check(t, f.EndLogin(ctx, []byte("second")))
	if _, err := f.Login(ctx, []byte("second"), time.Hour, time.Hour); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after logout: %v", err)
	}
}

func TestOutboxHasWhatHappenedForEachNotifier(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	a := view.Approval{ID: "a1", Agent: "node-1", Resource: "shop-db", NotAfter: time.Now().Add(time.Hour), Requested: time.Now(), Request: []byte("r")}
	_, _, err := f.AddApproval(ctx, a)
	check(t, err) // nobody is told of it
	check(t, f.SetNotifiers(ctx, []string{"hook", "mail"}))
	a.ID = "a2"
	number, _, err := f.AddApproval(ctx, a)
	check(t, err)
	check(t, f.AddVote(ctx, number, view.Vote{Approver: "ada", Decision: "approve", At: time.Now(), Signed: []byte("v")},
		func(view.Approval) (string, error) { return "approved", nil }))
	for _, name := range []string{"hook", "mail"} {
		for _, state := range []string{"pending", "approved"} {
			m, ok, _, err := f.NextMessage(ctx, name)
			check(t, err)
			if !ok || m.State != state || m.Approval.Number != number || time.Since(m.At) > time.Minute {
				t.Fatalf("%s: %v, %+v", name, ok, m)
			}
			check(t, f.Failed(ctx, m.ID, time.Now()))
			again, ok, _, err := f.NextMessage(ctx, name)
			check(t, err)
			if state == "approved" && (!ok || again.ID != m.ID || again.Attempts != 1) {
				t.Errorf("%s again: %v, %+v", name, ok, again)
			}
			check(t, f.Delivered(ctx, m.ID))
		}
		if m, ok, _, err := f.NextMessage(ctx, name); err != nil || ok {
			t.Errorf("%s has more: %+v, %v", name, m, err)
		}
	}
}
