package approval_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
)

func TestVoteReachesNoFurtherThanItsRequestOffers(t *testing.T) {
	p := newPeople(t)
	for _, test := range []struct {
		offered, voted approval.Scope
		ok             bool
	}{
		{approval.Once, approval.Once, true},
		{approval.Once, approval.SessionScope, false},
		{approval.SessionScope, approval.Once, true},
		{approval.SessionScope, approval.SessionScope, true},
		{approval.SessionScope, approval.ShapeScope, false},
		{approval.ShapeScope, approval.SessionScope, false},
	} {
		r := request(1)
		r.Scope = test.offered
		signed := p.sign(t, r)
		vote, err := approval.SignVote(approval.Vote{
			RequestHash: approval.RequestHash(signed), Decision: approval.Approve, Scope: test.voted, Approver: "ann",
			At: time.Now(), Expires: time.Now().Add(time.Minute),
		}, p.keys["ann"])
		if err != nil {
			t.Fatal(err)
		}
		_, err = approval.Check(signed, vote, p.agentKey(), &p.roster, time.Now())
		if test.ok != (err == nil) || !test.ok && !errors.Is(err, approval.ErrScope) {
			t.Errorf("%s where %s is offered: %v", test.voted, test.offered, err)
		}
	}
}

func TestGrantEndsWithItsVoteAndWithItsApprover(t *testing.T) {
	p := newPeople(t)
	roster := &p.roster
	desk := approval.NewDesk(approval.Config{Key: p.agent, Roster: func() *approval.Roster { return roster }, Log: zap.NewNop()})
	now := time.Now()
	r := request(1)
	r.Scope = approval.ShapeScope
	vote, err := approval.SignVote(approval.Vote{
		RequestHash: approval.RequestHash(p.sign(t, r)), Decision: approval.Approve, Scope: approval.ShapeScope, Approver: "ann",
		At: now, Expires: now.Add(time.Minute),
	}, p.keys["ann"])
	if err != nil {
		t.Fatal(err)
	}
	yes := approval.Settlement{
		State: approval.Approved, Number: 7, Deciders: []string{"ann"}, Votes: [][]byte{vote}, Scope: approval.ShapeScope, Until: now.Add(time.Minute),
	}
	desk.Remember("k", r, yes, now)
	if g, ok := desk.Recall("k", now); !ok || g.Number != 7 {
		t.Fatalf("got %+v, %v", g, ok)
	}
	if _, ok := desk.Recall("other", now); ok {
		t.Error("another key has it too")
	}
	if _, ok := desk.Recall("k", yes.Until); ok {
		t.Error("it outlived its vote")
	}
	left := p.roster
	left.Approvers = p.roster.Approvers[1:]
	roster = &left
	if _, ok := desk.Recall("k", now); ok {
		t.Error("it outlived its approver")
	}
	rotated := p.roster
	rotated.Approvers = slices.Clone(p.roster.Approvers)
	rotated.Approvers[0].Keys = rotated.Approvers[1].Keys
	roster = &rotated
	if _, ok := desk.Recall("k", now); ok {
		t.Error("it outlived the key that signed it")
	}
	roster = nil
	if _, ok := desk.Recall("k", now); ok {
		t.Error("it counts without a roster")
	}
	roster = &p.roster
	for name, change := range map[string]func(*approval.Settlement){
		"denied": func(s *approval.Settlement) { s.State = approval.Denied },
		"once":   func(s *approval.Settlement) { s.Scope = approval.Once },
		"over":   func(s *approval.Settlement) { s.Until = now },
	} {
		s := yes
		change(&s)
		desk.Remember(name, r, s, now)
		if _, ok := desk.Recall(name, now); ok {
			t.Errorf("%s: it is remembered", name)
		}
	}
}
