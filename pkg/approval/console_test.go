package approval_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
)

// withConsole lets the console's key vote.
func (p *people) withConsole(t *testing.T) *people {
	t.Helper()
	p.keys["console"] = keyOf("console")
	p.roster.Console = publicText(t, p.keys["console"])
	return p
}

// consoleVote is what the collector signs for somebody who has just logged in.
func consoleVote(signed []byte, name string, decision approval.Decision) approval.Vote {
	v := ballotFor(signed, name, decision)
	v.Login = &approval.Login{Account: approval.Account{Issuer: corporate, Subject: name}, At: v.At.Add(-time.Minute)}
	return v
}

func TestConsoleVotesForWhoeverHasJustLoggedIn(t *testing.T) {
	p := newPeople(t).withConsole(t)
	signed := p.sign(t, request(2))
	ballot, err := approval.NewBallot(signed, p.agentKey())
	if err != nil {
		t.Fatal(err)
	}
	// The console's key counts for two people, but never twice for one.
	for _, name := range []string{"ann", "bob"} {
		vote := p.signVote(t, consoleVote(signed, name, approval.Approve), "console")
		if _, err := ballot.Add(vote, &p.roster, time.Now()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := ballot.Add(p.vote(t, signed, name, approval.Approve), &p.roster, time.Now()); !errors.Is(err, approval.ErrAlready) {
			t.Errorf("%s again, by key: %v", name, err)
		}
	}
	if state, votes := ballot.Count(&p.roster, time.Now()); state != approval.Approved || len(votes) != 2 {
		t.Errorf("%s with %d votes", state, len(votes))
	}
}

func TestConsoleVoteWithoutAFreshLoginOfThatPersonDoesNotCount(t *testing.T) {
	p := newPeople(t).withConsole(t)
	signed := p.sign(t, request(1))
	ownKey := request(1)
	ownKey.Required.OwnKey = true
	byKey := p.sign(t, ownKey)
	with := func(signed []byte, signer string, change func(*approval.Vote)) []byte {
		v := consoleVote(signed, "ann", approval.Approve)
		change(&v)
		return p.signVote(t, v, signer)
	}
	self := request(1)
	self.Trigger = &approval.Account{Issuer: forge, Subject: "actor_id:ann"}
	selfStarted := p.sign(t, self)
	nothing := func(*approval.Vote) {}
	for name, test := range map[string]struct {
		request, vote []byte
		want          error
	}{
		"no login":                   {signed, with(signed, "console", func(v *approval.Vote) { v.Login = nil }), approval.ErrLogin},
		"somebody else's":            {signed, with(signed, "console", func(v *approval.Vote) { v.Login.Account.Subject = "bob" }), approval.ErrLogin},
		"at another issuer":          {signed, with(signed, "console", func(v *approval.Vote) { v.Login.Account.Issuer = "https://evil.example" }), approval.ErrLogin},
		"too old":                    {signed, with(signed, "console", func(v *approval.Vote) { v.Login.At = v.At.Add(-6 * time.Minute) }), approval.ErrLogin},
		"from the future":            {signed, with(signed, "console", func(v *approval.Vote) { v.Login.At = v.At.Add(3 * time.Minute) }), approval.ErrLogin},
		"the rule wants the own key": {byKey, with(byKey, "console", nothing), approval.ErrOwnKey},
		"by whoever started the job": {selfStarted, with(selfStarted, "console", nothing), approval.ErrFourEyes},
		"own key with a login":       {signed, with(signed, "ann", nothing), approval.ErrLogin},
		"another request":            {byKey, with(signed, "console", nothing), approval.ErrWrongRequest},
	} {
		if _, err := approval.Check(test.request, test.vote, p.agentKey(), &p.roster, time.Now()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := approval.Check(byKey, p.vote(t, byKey, "ann", approval.Approve), p.agentKey(), &p.roster, time.Now()); err != nil {
		t.Errorf("the own key does not count where the rule wants it: %v", err)
	}
	vote := with(signed, "console", nothing)
	p.roster.Console = ""
	if _, err := approval.Check(signed, vote, p.agentKey(), &p.roster, time.Now()); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("a roster without a console: %v, want %v", err, approval.ErrSignature)
	}
}

func TestConsoleKeyIsNobodysOwn(t *testing.T) {
	p := newPeople(t)
	p.roster.Console = p.roster.Approvers[0].Keys[0]
	if _, err := approval.SignRoster(p.roster, p.root); err == nil {
		t.Error("an approver's key is the console's too: signed")
	}
	p = newPeople(t).withConsole(t)
	p.roster.Approvers[1].Keys = nil
	if _, err := approval.SignRoster(p.roster, p.root); err != nil {
		t.Errorf("an approver without a key, who votes in the console: %v", err)
	}
}
