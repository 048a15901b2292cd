package approval_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
)

const (
	corporate = "https://login.example"
	forge     = "https://ci.example"
)

// people is a roster, its root and everybody's private keys.
type people struct {
	root   ed25519.PrivateKey
	agent  ed25519.PrivateKey
	keys   map[string]ed25519.PrivateKey
	roster approval.Roster
}

// keyOf makes the same key for the same name in every run.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("a test key of " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicText(t testing.TB, key ed25519.PrivateKey) string {
	t.Helper()
	text, err := approval.FormatPublicKey(key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// newPeople returns a roster with ann and bob (dba), and cem (dev). All have an
// account at the CI system.
func newPeople(t testing.TB) *people {
	t.Helper()
	p := &people{root: keyOf("root"), agent: keyOf("agent"), keys: map[string]ed25519.PrivateKey{}}
	p.roster = approval.Roster{Version: 3, NotAfter: time.Now().Add(24 * time.Hour)}
	for _, name := range []string{"ann", "bob", "cem"} {
		group := "dba"
		if name == "cem" {
			group = "dev"
		}
		p.keys[name] = keyOf(name)
		p.roster.Approvers = append(p.roster.Approvers, approval.Approver{
			Name:     name,
			Email:    name + "@example.com",
			Accounts: []approval.Account{{Issuer: corporate, Subject: name}, {Issuer: forge, Subject: "actor_id:" + name}},
			Groups:   []string{group},
			Keys:     []string{publicText(t, p.keys[name])},
		})
	}
	return p
}

func (p *people) agentKey() ed25519.PublicKey { return p.agent.Public().(ed25519.PublicKey) }

func request(votes int) approval.Request {
	now := time.Now()
	action := sha256.Sum256([]byte("ALTER TABLE orders ADD x int"))
	return approval.Request{
		ID: approval.NewID(), Agent: "node-1", Cluster: "lab", Session: "s1", Operation: 4, Resource: "shop-db",
		Trigger:  &approval.Account{Issuer: forge, Subject: "actor_id:dora"},
		FourEyes: approval.Enforced,
		Action:   hex.EncodeToString(action[:]), Text: "ALTER TABLE orders ADD x int", Rule: "schema-changes-need-a-person",
		Scope:    approval.Once,
		Required: approval.Required{Groups: []string{"dba"}, Votes: votes},
		Policy:   "p1", Created: now, NotAfter: now.Add(10 * time.Minute),
	}
}

func (p *people) sign(t *testing.T, r approval.Request) []byte {
	t.Helper()
	signed, err := approval.SignRequest(r, p.agent)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func ballotFor(signedRequest []byte, name string, decision approval.Decision) approval.Vote {
	now := time.Now()
	return approval.Vote{
		RequestHash: approval.RequestHash(signedRequest), Decision: decision, Scope: approval.Once,
		Approver: name, Reason: "seen", At: now, Expires: now.Add(5 * time.Minute),
	}
}

// vote signs name's decision with name's own key.
func (p *people) vote(t *testing.T, signedRequest []byte, name string, decision approval.Decision) []byte {
	t.Helper()
	return p.signVote(t, ballotFor(signedRequest, name, decision), name)
}

func (p *people) signVote(t *testing.T, v approval.Vote, signer string) []byte {
	t.Helper()
	signed, err := approval.SignVote(v, p.keys[signer])
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
