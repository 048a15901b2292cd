package approval_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
)

func TestVoteOfApproverCounts(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, request(1))
	ballot, err := approval.NewBallot(signed, p.agentKey())
	if err != nil {
		t.Fatal(err)
	}
	if state, _ := ballot.Count(&p.roster, time.Now()); state != approval.Pending {
		t.Fatalf("a fresh ballot is %s", state)
	}
	vote, err := ballot.Add(p.vote(t, signed, "ann", approval.Approve), &p.roster, time.Now())
	if err != nil || vote.Approver != "ann" {
		t.Fatalf("Add = %+v, %v", vote, err)
	}
	if state, votes := ballot.Count(&p.roster, time.Now()); state != approval.Approved || len(votes) != 1 {
		t.Errorf("Count = %s, %d votes; want approved by one", state, len(votes))
	}
}

// mangle decodes a signed envelope, lets change work on its payload, and
// encodes it again under the old signature.
func mangle(t *testing.T, signed []byte, change func(payload string) string) []byte {
	t.Helper()
	var envelope struct {
		PayloadType string          `json:"payloadType"`
		Payload     string          `json:"payload"`
		Signatures  json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(signed, &envelope); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(payload))
	if changed == string(payload) {
		t.Fatal("the payload did not change")
	}
	envelope.Payload = base64.StdEncoding.EncodeToString([]byte(changed))
	out, err := json.Marshal(envelope)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAttackOnVoteDoesNotCount(t *testing.T) {
	p := newPeople(t)
	requestA := p.sign(t, request(1))
	requestB := p.sign(t, request(1))
	self := request(1)
	self.Trigger = &approval.Account{Issuer: forge, Subject: "actor_id:ann"}
	selfStarted := p.sign(t, self)
	elsewhere := request(1)
	elsewhere.Trigger = &approval.Account{Issuer: "https://other-ci.example", Subject: "actor_id:9"}
	startedElsewhere := p.sign(t, elsewhere)
	asker := request(1)
	asker.Requester.Account = approval.Account{Issuer: corporate, Subject: "ann"}
	askedByAnn := p.sign(t, asker)

	with := func(signed []byte, change func(*approval.Vote)) []byte {
		v := ballotFor(signed, "ann", approval.Approve)
		change(&v)
		return p.signVote(t, v, "ann")
	}
	good := p.vote(t, requestA, "ann", approval.Approve)
	tests := []struct {
		name    string
		request []byte
		vote    []byte
		want    error
	}{
		{"signed by another approver", requestA, p.signVote(t, ballotFor(requestA, "ann", approval.Approve), "bob"), approval.ErrSignature},
		{"not in the roster", requestA, p.signVote(t, ballotFor(requestA, "eve", approval.Approve), "ann"), approval.ErrNotApprover},
		{"vote for A used for B", requestB, good, approval.ErrWrongRequest},
		{"deny turned into approve", requestA, mangle(t, p.vote(t, requestA, "ann", approval.Deny), func(s string) string {
			return strings.Replace(s, `"deny"`, `"approve"`, 1)
		}), approval.ErrSignature},
		{"scope upgraded", requestA, mangle(t, good, func(s string) string {
			return strings.Replace(s, `"once"`, `"session"`, 1)
		}), approval.ErrSignature},
		{"expiry moved", requestA, mangle(t, good, func(s string) string {
			return strings.Replace(s, `"expires":"2`, `"expires":"3`, 1)
		}), approval.ErrSignature},
		{"expired", requestA, with(requestA, func(v *approval.Vote) {
			v.At = v.At.Add(-time.Minute)
			v.Expires = v.At.Add(time.Second)
		}), approval.ErrVoteTime},
		{"older than the request", requestA, with(requestA, func(v *approval.Vote) { v.At = v.At.Add(-time.Hour) }), approval.ErrVoteTime},
		{"from the future", requestA, with(requestA, func(v *approval.Vote) {
			v.At = v.At.Add(time.Hour)
			v.Expires = v.At.Add(time.Hour)
		}), approval.ErrVoteTime},
		{"wrong group", requestA, p.vote(t, requestA, "cem", approval.Approve), approval.ErrGroup},
		{"deny from the wrong group", requestA, p.vote(t, requestA, "cem", approval.Deny), approval.ErrGroup},
		{"by whoever triggered the job", selfStarted, p.vote(t, selfStarted, "ann", approval.Approve), approval.ErrFourEyes},
		{"by somebody who cannot be told from the trigger", startedElsewhere, p.vote(t, startedElsewhere, "ann", approval.Approve), approval.ErrFourEyes},
		{"by the requester", askedByAnn, p.vote(t, askedByAnn, "ann", approval.Approve), approval.ErrFourEyes},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := approval.Check(test.request, test.vote, p.agentKey(), &p.roster, time.Now()); !errors.Is(err, test.want) {
				t.Errorf("Check: %v, want %v", err, test.want)
			}
		})
	}
	if _, err := approval.Check(requestA, good, p.agentKey(), &p.roster, time.Now()); err != nil {
		t.Errorf("the vote that was attacked does not count itself: %v", err)
	}
}

func TestWhoeverTriggeredTheJobMayDenyIt(t *testing.T) {
	p := newPeople(t)
	r := request(1)
	r.Trigger = &approval.Account{Issuer: forge, Subject: "actor_id:ann"}
	signed := p.sign(t, r)
	if _, err := approval.Check(signed, p.vote(t, signed, "ann", approval.Deny), p.agentKey(), &p.roster, time.Now()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestVoteNeedsValidRosterAndTime(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, request(1))
	vote := p.vote(t, signed, "ann", approval.Approve)
	expired := p.roster
	expired.NotAfter = time.Now()
	tests := []struct {
		name   string
		roster *approval.Roster
		now    time.Time
		want   error
	}{
		{"no roster", nil, time.Now(), approval.ErrNoRoster},
		{"expired roster", &expired, time.Now(), approval.ErrRosterExpired},
		{"after the deadline", &p.roster, time.Now().Add(11 * time.Minute), approval.ErrDeadline},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := approval.Check(signed, vote, p.agentKey(), test.roster, test.now); !errors.Is(err, test.want) {
				t.Errorf("Check: %v, want %v", err, test.want)
			}
		})
	}
}

func TestTwoVotesNeedTwoPeople(t *testing.T) {
	p := newPeople(t)
	second := keyOf("ann's second key")
	for i := range p.roster.Approvers {
		if p.roster.Approvers[i].Name == "ann" {
			p.roster.Approvers[i].Keys = append(p.roster.Approvers[i].Keys, publicText(t, second))
		}
	}
	p.keys["ann's second"] = second
	signed := p.sign(t, request(2))
	ballot, err := approval.NewBallot(signed, p.agentKey())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	first := p.vote(t, signed, "ann", approval.Approve)
	if _, err := ballot.Add(first, &p.roster, now); err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string][]byte{
		"replayed":       first,
		"voted again":    p.signVote(t, func() approval.Vote { v := ballotFor(signed, "ann", approval.Approve); v.Reason = "again"; return v }(), "ann"),
		"the second key": p.signVote(t, ballotFor(signed, "ann", approval.Approve), "ann's second"),
	} {
		if _, err := ballot.Add(again, &p.roster, now); !errors.Is(err, approval.ErrAlready) {
			t.Errorf("%s: %v, want %v", name, err, approval.ErrAlready)
		}
	}
	if state, votes := ballot.Count(&p.roster, now); state != approval.Pending || len(votes) != 1 {
		t.Fatalf("after one person: %s, %d votes", state, len(votes))
	}
	if _, err := ballot.Add(p.vote(t, signed, "bob", approval.Approve), &p.roster, now); err != nil {
		t.Fatal(err)
	}
	if state, votes := ballot.Count(&p.roster, now); state != approval.Approved || len(votes) != 2 {
		t.Errorf("after two people: %s, %d votes", state, len(votes))
	}
}

func TestDenyBeforeQuorumIsFinal(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, request(2))
	ballot, err := approval.NewBallot(signed, p.agentKey())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, vote := range [][]byte{p.vote(t, signed, "ann", approval.Approve), p.vote(t, signed, "ann", approval.Deny)} {
		if _, err := ballot.Add(vote, &p.roster, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ballot.Add(p.vote(t, signed, "bob", approval.Approve), &p.roster, now); !errors.Is(err, approval.ErrSettled) {
		t.Errorf("a yes after the deny: %v, want %v", err, approval.ErrSettled)
	}
	if state, votes := ballot.Count(&p.roster, now); state != approval.Denied || len(votes) != 1 || votes[0].Approver != "ann" {
		t.Errorf("Count = %s, %+v", state, votes)
	}
}

func TestYesIsCheckedAgainAtQuorum(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, request(2))
	without := p.roster
	without.Approvers = nil
	for _, approver := range p.roster.Approvers {
		if approver.Name != "ann" {
			without.Approvers = append(without.Approvers, approver)
		}
	}
	now := time.Now()
	tests := []struct {
		name   string
		roster *approval.Roster
		at     time.Time
		want   approval.State
	}{
		{"still valid", &p.roster, now, approval.Approved},
		{"approver left the roster", &without, now, approval.Pending},
		{"votes expired", &p.roster, now.Add(6 * time.Minute), approval.Pending},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ballot, err := approval.NewBallot(signed, p.agentKey())
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"ann", "bob"} {
				if _, err := ballot.Add(p.vote(t, signed, name, approval.Approve), &p.roster, now); err != nil {
					t.Fatal(err)
				}
			}
			if state, _ := ballot.Count(test.roster, test.at); state != test.want {
				t.Errorf("Count = %s, want %s", state, test.want)
			}
		})
	}
}

func TestExpiredYesCanBeGivenAgainButCountsOnce(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, request(2))
	ballot, err := approval.NewBallot(signed, p.agentKey())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := ballot.Add(p.vote(t, signed, "ann", approval.Approve), &p.roster, now); err != nil {
		t.Fatal(err)
	}
	later := now.Add(6 * time.Minute)
	v := ballotFor(signed, "ann", approval.Approve)
	v.At, v.Expires = later, later.Add(time.Minute)
	if _, err := ballot.Add(p.signVote(t, v, "ann"), &p.roster, later); err != nil {
		t.Fatalf("a fresh yes after the first expired: %v", err)
	}
	for _, at := range []time.Time{now.Add(4 * time.Minute), later} {
		if state, votes := ballot.Count(&p.roster, at); state != approval.Pending || len(votes) > 1 {
			t.Errorf("at +%s one person counts %d times: %s", at.Sub(now), len(votes), state)
		}
	}
}

func TestRequestOfAnotherAgentIsRefused(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, request(1))
	if _, err := approval.OpenRequest(signed, keyOf("other agent").Public().(ed25519.PublicKey)); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("another agent's key: %v, want %v", err, approval.ErrSignature)
	}
	if _, err := approval.OpenRequest(signed, nil); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("no key: %v, want %v", err, approval.ErrSignature)
	}
	tampered := mangle(t, signed, func(s string) string { return strings.Replace(s, "ALTER TABLE", "ANALYZE", 1) })
	if _, err := approval.OpenRequest(tampered, p.agentKey()); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("tampered text: %v, want %v", err, approval.ErrSignature)
	}
	if approval.RequestHash(tampered) == approval.RequestHash(signed) {
		t.Error("a tampered request has the hash of the true one")
	}
}

func TestEnvelopeHasOneSpelling(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, request(1))
	for name, other := range map[string][]byte{
		"space":         append([]byte(" "), signed...),
		"trailing":      append(bytes.Clone(signed), '\n'),
		"second object": append(bytes.Clone(signed), "{}"...),
		"unknown name":  bytes.Replace(signed, []byte(`{"payloadType"`), []byte(`{"x":1,"payloadType"`), 1),
		"other case":    bytes.Replace(signed, []byte(`"payloadType"`), []byte(`"PayloadType"`), 1),
		"vote":          p.vote(t, signed, "ann", approval.Approve),
		"huge":          bytes.Repeat([]byte("["), 1<<20),
		"empty":         nil,
		"other key id":  bytes.Replace(signed, []byte(`"keyid":"SHA256:`), []byte(`"keyid":"SHA255:`), 1),
	} {
		if _, err := approval.OpenRequest(other, p.agentKey()); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestIncompleteRequestIsNotSigned(t *testing.T) {
	p := newPeople(t)
	for name, change := range map[string]func(*approval.Request){
		"short id":             func(r *approval.Request) { r.ID = "12" },
		"upper-case id":        func(r *approval.Request) { r.ID = strings.ToUpper(r.ID[:31]) + "F" },
		"no action":            func(r *approval.Request) { r.Action = "" },
		"no groups":            func(r *approval.Request) { r.Required.Groups = nil },
		"empty group":          func(r *approval.Request) { r.Required.Groups = []string{""} },
		"no votes":             func(r *approval.Request) { r.Required.Votes = 0 },
		"unknown trigger":      func(r *approval.Request) { r.Trigger = nil },
		"half a trigger":       func(r *approval.Request) { r.Trigger = &approval.Account{Issuer: forge} },
		"four eyes not stated": func(r *approval.Request) { r.FourEyes = "" },
		"waived in vain":       func(r *approval.Request) { r.FourEyes = approval.Waived },
		"no time":              func(r *approval.Request) { r.NotAfter = r.Created },
	} {
		r := request(1)
		change(&r)
		if _, err := approval.SignRequest(r, p.agent); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := approval.SignRequest(request(1), nil); err == nil {
		t.Error("signed without a key")
	}
}

func TestTransitionLeavesPendingOnce(t *testing.T) {
	states := []approval.State{"", approval.Pending, approval.Approved, approval.Denied, approval.Expired, approval.Withdrawn, approval.Abandoned, "odd"}
	for _, from := range states {
		for _, to := range states {
			want := from == approval.Pending && to != "" && to != approval.Pending && to != "odd"
			if err := approval.Transition(from, to); (err == nil) != want {
				t.Errorf("Transition(%q, %q) = %v", from, to, err)
			}
		}
	}
}
