package collector_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// holds asks for n approvals at once.
func (a *agent) holds(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		request := approval.Request{
			ID: approval.NewID(), Agent: node, Cluster: "test", Session: "s", Operation: uint64(i + 1), Resource: "shop-db",
			Requester: approval.Requester{Repository: "acme/shop"}, Scope: approval.Once, FourEyes: approval.Waived, Action: strings.Repeat("0", 64),
			Text: fmt.Sprintf("ALTER TABLE t%d ADD c int", i), Rule: "schema-changes",
			Required: approval.Required{Groups: []string{"dba"}, Votes: 1}, Created: time.Now(), NotAfter: time.Now().Add(10 * time.Minute),
		}
		signed, err := approval.SignRequest(request, a.key)
		check(t, err)
		check(t, a.bus.PublishApprovalRequest(t.Context(), request.ID, signed))
	}
}

// With a thousand holds every page of the list comes, none is left out or
// repeated, and a vote releases at once.
func TestAThousandHoldsAtOnce(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	s.held(a, "ada", nothing) // so that the bus is there
	votes := make(chan time.Time, 64)
	go func() {
		for u := range a.updates {
			if len(u.Vote) > 0 {
				votes <- time.Now()
			}
		}
	}()
	const n = 1000
	a.holds(t, n-1)
	list := func(before uint64) []view.Approval {
		return get[[]view.Approval](s, fmt.Sprintf("/v1/approvals?state=pending&limit=100&before=%d", before))
	}
	await(t, "all are asked for", func() bool { page := list(0); return len(page) > 0 && page[0].Number == n })
	seen := map[uint64]bool{}
	for before := uint64(n + 1); ; {
		page := list(before)
		for _, one := range page {
			seen[one.Number], before = true, one.Number
		}
		if len(page) < 100 {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d are listed", len(seen), n)
	}
	ada := s.browser("ada")
	ada.login("")
	token := ada.formToken("/approvals")
	var pages, releases []time.Duration
	for i := range 21 {
		began := time.Now()
		if status, _, _ := ada.get("/approvals"); status != http.StatusOK {
			t.Fatalf("page: %d", status)
		}
		pages = append(pages, time.Since(began))
		began = time.Now()
		form := url.Values{"token": {token}, "decision": {"approve"}, "from": {"list"}}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			ada.post(fmt.Sprintf("/approvals/%d/vote", 100+i), form)
		}()
		select {
		case at := <-votes:
			releases = append(releases, at.Sub(began))
		case <-time.After(30 * time.Second):
			t.Fatal("the agent is not told")
		}
		<-answered
	}
	slices.Sort(pages)
	slices.Sort(releases)
	t.Logf("with %d holds: page %v, click to the agent %v (medians of %d)", n, pages[10], releases[10], len(pages))
}
