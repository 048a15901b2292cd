package collector_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// TestVoteIsForOneRequestOnce plays a good vote back: to the request that it
// decided, to another one, and to one with its id that asks for something else.
func TestVoteIsForOneRequestOnce(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	two := func(r *approval.Request) { r.Required.Votes = 2 }
	var id string
	first, signed := a.ask(t, "shop-db", "acme/shop", func(r *approval.Request) {
		two(r)
		id = r.ID
	})
	second, other := a.ask(t, "shop-db", "acme/shop", two)
	token := s.token("ada", "dba")
	vote := []byte(s.signVote(signed, approval.Approve))
	cast := func(number uint64, vote []byte) int {
		status, _ := s.call(token, http.MethodPost, fmt.Sprintf("/v1/approvals/%d/votes", number), string(vote))
		return status
	}
	if status := cast(first, vote); status != http.StatusOK {
		t.Fatalf("the vote itself: %d", status)
	}
	if status := cast(first, vote); status == http.StatusOK && s.state(first) == "approved" {
		t.Error("one vote, played back, is two people's")
	}
	if status := cast(second, vote); status != http.StatusUnprocessableEntity {
		t.Errorf("to another request: %d", status)
	}
	// The agent, or whoever has its key, asks something else under the same id.
	changed := approval.Request{
		ID: id, Agent: node, Cluster: "test", Session: "first000", Operation: 1, Resource: "shop-db",
		Requester: approval.Requester{Repository: "acme/shop"}, FourEyes: approval.Waived, Action: fmt.Sprintf("%064d", 1),
		Text: "DROP TABLE everything", Rule: "schema-changes", Scope: approval.Once,
		Required: approval.Required{Groups: []string{"dba"}, Votes: 1}, Created: time.Now(), NotAfter: time.Now().Add(time.Minute),
	}
	swapped, err := approval.SignRequest(changed, a.key)
	check(t, err)
	await(t, "the bus takes the changed request", func() bool { return a.bus.PublishApprovalRequest(t.Context(), id, swapped) == nil })
	a.ask(t, "shop-db", "acme/shop", nothing)
	await(t, "what came before the last request has been handled", func() bool { return len(get[[]view.Approval](s, "/v1/approvals")) == 3 })
	kept := get[view.Approval](s, fmt.Sprintf("/v1/approvals/%d", first))
	if kept.Text == changed.Text || kept.State != "pending" {
		t.Errorf("the request changed under its approvers: %q is %s", kept.Text, kept.State)
	}
	for name, request := range map[string][]byte{"the changed one": swapped, "another": other} {
		if _, err := approval.Check(request, vote, a.public(), &s.roster, time.Now()); err == nil {
			t.Errorf("the agent takes the vote for %s", name)
		}
	}
	if s.state(first) != "pending" || s.state(second) != "pending" {
		t.Errorf("decided: %s, %s", s.state(first), s.state(second))
	}
}
