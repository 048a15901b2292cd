package approval_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/workload"
)

const container = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func order(kind approval.OrderKind) approval.Order {
	o := approval.Order{ID: approval.NewID(), Kind: kind, By: "ann", Reason: "it digs", At: time.Now(), Expires: time.Now().Add(time.Hour)}
	switch kind {
	case approval.Kill:
		o.Session = "s1"
	case approval.Quarantine:
		o.Container = container[:12]
	case approval.Release:
		o.Lifts = approval.NewID()
	}
	return o
}

func TestOrderOfAnybodyInTheRosterIsBelieved(t *testing.T) {
	p := newPeople(t)
	for _, kind := range []approval.OrderKind{approval.Kill, approval.Quarantine, approval.Release} {
		want := order(kind)
		signed, err := approval.SignOrder(want, p.keys["ann"])
		if err != nil {
			t.Fatal(err)
		}
		got, err := approval.OpenOrder(signed, &p.roster, time.Now())
		if err != nil || got.ID != want.ID || got.Kind != kind || got.By != "ann" {
			t.Errorf("%s: got %+v, %v", kind, got, err)
		}
	}
}

func TestOrderIsNotBelieved(t *testing.T) {
	p := newPeople(t)
	good := order(approval.Quarantine)
	signed, err := approval.SignOrder(good, p.keys["ann"])
	if err != nil {
		t.Fatal(err)
	}
	open := func(signed []byte, roster *approval.Roster, now time.Time) error {
		_, err := approval.OpenOrder(signed, roster, now)
		return err
	}
	if err := open(signed, nil, time.Now()); !errors.Is(err, approval.ErrNoRoster) {
		t.Errorf("without a roster: %v", err)
	}
	if err := open(signed, &p.roster, p.roster.NotAfter); !errors.Is(err, approval.ErrRosterExpired) {
		t.Errorf("with an old roster: %v", err)
	}
	if err := open(signed, &p.roster, good.Expires); !errors.Is(err, approval.ErrVoteTime) {
		t.Errorf("late: %v", err)
	}
	if err := open(signed, &p.roster, good.At.Add(-time.Hour)); !errors.Is(err, approval.ErrVoteTime) {
		t.Errorf("early: %v", err)
	}
	forged, err := approval.SignOrder(good, p.keys["cem"]) // in ann's name
	if err != nil {
		t.Fatal(err)
	}
	if err := open(forged, &p.roster, time.Now()); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("in another's name: %v", err)
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 1
		if open(changed, &p.roster, time.Now()) == nil {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
	vote, err := approval.SignVote(approval.Vote{
		RequestHash: strings.Repeat("0", 64), Decision: approval.Deny, Scope: approval.Once, Approver: "ann", At: time.Now(), Expires: time.Now().Add(time.Hour),
	}, p.keys["ann"])
	if err != nil {
		t.Fatal(err)
	}
	if open(vote, &p.roster, time.Now()) == nil {
		t.Error("a vote was taken for an order")
	}
}

func TestOrderThatNamesNothingOrTooMuchCannotBeSigned(t *testing.T) {
	p := newPeople(t)
	for name, change := range map[string]func(o *approval.Order){
		"nobody":                     func(o *approval.Order) { o.Container = "" },
		"two":                        func(o *approval.Order) { o.Run = "acme/shop/1" },
		"all containers":             func(o *approval.Order) { o.Container = "0" },
		"a session":                  func(o *approval.Order) { o.Container, o.Session = "", "s1" },
		"for ever":                   func(o *approval.Order) { o.Expires = o.At.Add(approval.MaxOrder + time.Second) },
		"for no time":                func(o *approval.Order) { o.Expires = o.At },
		"by nobody":                  func(o *approval.Order) { o.By = "" },
		"a kind that does not exist": func(o *approval.Order) { o.Kind = "pardon" },
	} {
		o := order(approval.Quarantine)
		change(&o)
		if _, err := approval.SignOrder(o, p.keys["ann"]); err == nil {
			t.Errorf("%s: it was signed", name)
		}
	}
}

func TestOrderStopsWhomItNamesAndNobodyElse(t *testing.T) {
	job := workload.Workload{
		Kernel:  workload.KernelFacts{Container: container},
		Claimed: workload.Claims{Env: map[string]string{"GITHUB_REPOSITORY": "acme/shop", "GITHUB_RUN_ID": "4711"}},
	}
	unknown := workload.Workload{}
	run := order(approval.Quarantine)
	run.Container, run.Run = "", "acme/shop/4711"
	for name, test := range map[string]struct {
		o                     approval.Order
		stopsJob, stopsNobody bool
	}{
		"kill":       {order(approval.Kill), true, false},
		"quarantine": {order(approval.Quarantine), true, false},
		"run":        {run, true, false},
		"release":    {order(approval.Release), false, false},
	} {
		if test.o.Stops("s1", &job) != test.stopsJob {
			t.Errorf("%s: the job is not treated as it should be", name)
		}
		if test.o.Stops("s2", &unknown) != test.stopsNobody {
			t.Errorf("%s: a session of nobody is stopped", name)
		}
	}
}
