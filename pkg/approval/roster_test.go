package approval_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
)

func TestRosterIsBelievedFromTheRootAndForward(t *testing.T) {
	p := newPeople(t)
	signed, err := approval.SignRoster(p.roster, p.root)
	if err != nil {
		t.Fatal(err)
	}
	root := p.root.Public().(ed25519.PublicKey)
	got, err := approval.OpenRoster(signed, root, 3)
	if err != nil {
		t.Fatal(err)
	}
	if holder, found := got.Holder(approval.Account{Issuer: corporate, Subject: "bob"}); !found || holder.Name != "bob" {
		t.Errorf("Holder = %+v, %v", holder, found)
	}
	if _, err := approval.OpenRoster(signed, root, 4); !errors.Is(err, approval.ErrRollback) {
		t.Errorf("an older roster: %v, want %v", err, approval.ErrRollback)
	}
	if _, err := approval.OpenRoster(signed, p.agentKey(), 0); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("signed by another root: %v, want %v", err, approval.ErrSignature)
	}
	promoted := mangle(t, signed, func(s string) string { return strings.Replace(s, `"dev"`, `"dba"`, 1) })
	if _, err := approval.OpenRoster(promoted, root, 0); !errors.Is(err, approval.ErrSignature) {
		t.Errorf("a changed group: %v, want %v", err, approval.ErrSignature)
	}
}

func TestRosterInWhichOnePersonCountsTwiceIsRefused(t *testing.T) {
	for name, change := range map[string]func(a, b *approval.Approver){
		"shared name":    func(a, b *approval.Approver) { b.Name = a.Name },
		"shared key":     func(a, b *approval.Approver) { b.Keys = append(b.Keys, a.Keys[0]+" with a comment") },
		"shared account": func(a, b *approval.Approver) { b.Accounts[1] = a.Accounts[1] },
		"shared address": func(a, b *approval.Approver) { b.Email = strings.ToUpper(a.Email) },
		"no account":     func(_, b *approval.Approver) { b.Accounts = nil },
		"no key":         func(_, b *approval.Approver) { b.Keys = nil },
		"broken key":     func(_, b *approval.Approver) { b.Keys = []string{"ssh-ed25519 AAAA"} },
	} {
		p := newPeople(t)
		change(&p.roster.Approvers[0], &p.roster.Approvers[1])
		if _, err := approval.SignRoster(p.roster, p.root); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}
