package approval_test

import (
	"bytes"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
)

func breakGlass() approval.BreakGlass {
	return approval.BreakGlass{
		ID: approval.NewID(), Cluster: "lab", Rule: "schema-changes-need-a-person", Reason: "the collector burns",
		People: []string{"ann", "bob"}, From: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Hour),
	}
}

// token makes a token that these people's keys signed.
func (p *people) token(t *testing.T, b approval.BreakGlass, by ...string) []byte {
	t.Helper()
	token, err := approval.NewBreakGlass(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range by {
		if token, err = approval.SignBreakGlass(token, p.keys[name]); err != nil {
			t.Fatal(err)
		}
	}
	return token
}

func TestTokenCountsOnceBothHaveSignedIt(t *testing.T) {
	p := newPeople(t)
	b := breakGlass()
	for _, by := range [][]string{{"ann", "bob"}, {"bob", "ann"}, {"ann", "cem", "bob"}} {
		got, err := approval.OpenBreakGlass(p.token(t, b, by...), &p.roster, "lab", time.Now())
		if err != nil || got.ID != b.ID {
			t.Errorf("by %v: %+v, %v", by, got, err)
		}
	}
	for _, by := range [][]string{{"ann"}, {"ann", "ann"}, {"ann", "cem"}} {
		if _, err := approval.OpenBreakGlass(p.token(t, b, by...), &p.roster, "lab", time.Now()); err == nil {
			t.Errorf("by %v: it counts", by)
		}
	}
}

func TestTokenDoesNotCount(t *testing.T) {
	p := newPeople(t)
	b := breakGlass()
	good := p.token(t, b, "ann", "bob")
	for name, try := range map[string]func() error{
		"late":      func() error { _, err := approval.OpenBreakGlass(good, &p.roster, "lab", b.Until); return err },
		"early":     func() error { _, err := approval.OpenBreakGlass(good, &p.roster, "lab", b.From.Add(-1)); return err },
		"elsewhere": func() error { _, err := approval.OpenBreakGlass(good, &p.roster, "main", time.Now()); return err },
		"no roster": func() error { _, err := approval.OpenBreakGlass(good, nil, "lab", time.Now()); return err },
		"two halves of different tokens": func() error {
			other := b
			other.Rule = "never-drop-a-database"
			mixed := bytes.Replace(p.token(t, b, "ann"), []byte("]}"), nil, 1)
			half := bytes.TrimPrefix(p.token(t, other, "bob"), []byte(`{"signed":[`))
			_, err := approval.OpenBreakGlass(append(append(mixed, ','), half...), &p.roster, "lab", time.Now())
			return err
		},
	} {
		if try() == nil {
			t.Errorf("%s: it counts", name)
		}
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if _, err := approval.OpenBreakGlass(changed, &p.roster, "lab", time.Now()); err == nil {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
	for name, change := range map[string]func(*approval.BreakGlass){
		"one person": func(b *approval.BreakGlass) { b.People = []string{"ann"} },
		"one twice":  func(b *approval.BreakGlass) { b.People = []string{"ann", "ann"} },
		"too long":   func(b *approval.BreakGlass) { b.Until = b.From.Add(approval.MaxBreakGlass + 1) },
		"no reason":  func(b *approval.BreakGlass) { b.Reason = "" },
	} {
		b := breakGlass()
		change(&b)
		if _, err := approval.NewBreakGlass(b); err == nil {
			t.Errorf("%s: it was made", name)
		}
	}
}

func TestTokenLetsOnlyThroughWhatBothCouldHaveApproved(t *testing.T) {
	p := newPeople(t)
	var token []byte
	desk := approval.NewDesk(approval.Config{
		Key: p.agent, Roster: func() *approval.Roster { return &p.roster }, BreakGlass: func() []byte { return token }, Preapprovals: func() [][]byte { return nil }, Log: zap.NewNop(),
	})
	use := func(b approval.BreakGlass, change func(*approval.Request)) bool {
		token = p.token(t, b, b.People...)
		r := request(1)
		change(&r)
		got, _ := desk.BreakGlass(&r, time.Now())
		return got != nil
	}
	if !use(breakGlass(), func(*approval.Request) {}) {
		t.Fatal("it does not count")
	}
	if use(breakGlass(), func(r *approval.Request) { r.Rule = "another" }) {
		t.Error("it counts for another rule")
	}
	if use(breakGlass(), func(r *approval.Request) { r.Trigger = &approval.Account{Issuer: forge, Subject: "actor_id:ann"} }) {
		t.Error("it counts for a job that one of them triggered")
	}
	stranger := breakGlass()
	stranger.People = []string{"ann", "cem"}
	if use(stranger, func(*approval.Request) {}) {
		t.Error("it counts though one of them is in no group that could approve")
	}
	token = nil
	if got, _ := desk.BreakGlass(&approval.Request{}, time.Now()); got != nil {
		t.Error("it counts while the collector is there")
	}
}
