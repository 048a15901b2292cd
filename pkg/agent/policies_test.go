package agent_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/policy"
)

const ownPolicy = `version: 1
resources:
  - name: shop-db
    protocol: postgres
    hosts: [192.0.2.1]
    port: 5432
    credentials: [{user: app, password_file: p}]
rules: [{name: no-pushes, when: op.kind == "push", effect: deny}]
default: allow
`

// stricter has other rules than ownPolicy, and masking other masks too.
var (
	stricter = strings.Replace(ownPolicy, "default: allow", "default: deny", 1)
	masking  = stricter + "masks: [{name: m, columns: [public.customers.email], method: redact}]\n"
)

// press is an agent's policies, and ada, who publishes them.
type press struct {
	t         *testing.T
	cfg       agent.PoliciesConfig
	ada       ed25519.PrivateKey
	roster    *approval.Roster
	policies  *agent.Policies
	recorded  []string // hashes
	refused   []string
	unfit     error // what Check says
	unwritten error // what Changed says
	sequence  uint64
}

func newPress(t *testing.T) *press {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	line, err := approval.FormatPublicKey(public)
	must(t, err)
	p := &press{t: t, ada: private, sequence: approval.SequenceAt(time.Now().Add(-time.Minute))}
	p.roster = &approval.Roster{Version: 1, NotAfter: time.Now().Add(time.Hour), Publishers: []string{"platform"}, Approvers: []approval.Approver{{
		Name: "ada", Groups: []string{"platform"}, Keys: []string{line}, Accounts: []approval.Account{{Issuer: "https://login.example", Subject: "ada"}},
	}}}
	own, err := policy.Parse("/etc/sluice/policy.yaml", []byte(ownPolicy))
	must(t, err)
	p.cfg = agent.PoliciesConfig{
		Own: own, Name: "/etc/sluice/policy.yaml", Cluster: "main", Agent: "build-1", Pin: filepath.Join(t.TempDir(), "pin"),
		Roster: func() *approval.Roster { return p.roster },
		Check:  func(*policy.Policy) error { return p.unfit },
		Changed: func(hash string, signed []byte) error {
			p.recorded = append(p.recorded, hash)
			return p.unwritten
		},
		Refused: func(detail string) { p.refused = append(p.refused, detail) },
		Log:     zap.NewNop(),
	}
	p.open()
	return p
}

// open starts the agent's half again.
func (p *press) open() {
	p.t.Helper()
	var err error
	p.policies, err = agent.OpenPolicies(p.cfg)
	must(p.t, err)
}

// print signs a text; each time as a later publication.
func (p *press) print(text string, change func(*approval.Publication)) []byte {
	p.t.Helper()
	p.sequence++
	what := approval.Publication{Cluster: "main", Sequence: p.sequence, Agents: []string{"build-*"}, By: "ada"}
	change(&what)
	var bytes []byte
	if text != "" {
		bytes = []byte(text)
	}
	published, err := approval.Publish(what, bytes, p.ada)
	must(p.t, err)
	encoded, err := json.Marshal(published)
	must(p.t, err)
	return encoded
}

func asIs(*approval.Publication) {}

// inForce wants a policy to be in force, also after a restart.
func (p *press) inForce(text string) {
	p.t.Helper()
	for _, when := range []string{"now", "after a restart"} {
		if got := p.policies.Current().Hash(); got != approval.PolicyHash([]byte(text)) {
			p.t.Fatalf("%s another policy is in force: %s; refused: %q", when, got, p.refused)
		}
		p.open()
	}
}

func TestPublishedPolicyIsInForceAndSurvivesARestart(t *testing.T) {
	p := newPress(t)
	p.inForce(ownPolicy)
	first := p.print(stricter, asIs)
	p.policies.Deliver(first)
	p.inForce(stricter)
	second := p.print(masking, asIs)
	p.policies.Deliver(second)
	p.policies.Deliver(second) // twice is once
	p.inForce(masking)
	p.policies.Deliver(first) // played back
	p.inForce(masking)
	if len(p.refused) != 1 || !strings.Contains(p.refused[0], "older than the one in force") {
		t.Errorf("refused: %q", p.refused)
	}
	p.policies.Deliver(p.print(stricter, asIs)) // a rollback is a newer publication of an old text
	p.inForce(stricter)
	p.policies.Deliver(p.print("", asIs))
	p.inForce(ownPolicy)
	for _, hash := range p.recorded {
		if hash == "" {
			t.Errorf("recorded: %q", p.recorded)
		}
	}
}

func TestPolicyThatCannotBeInForceChangesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		change func(*approval.Publication)
		spoil  func(p *press)
		want   string
	}{
		"not a policy":        {"rules: 7\n", asIs, nil, "rules"},
		"other resources":     {strings.Replace(ownPolicy, "192.0.2.1", "192.0.2.9", 1), asIs, nil, "shop-db is written otherwise"},
		"a missing file":      {stricter, asIs, func(p *press) { p.unfit = errors.New("secrets/x is not there") }, "secrets/x is not there"},
		"not for this agent":  {stricter, func(w *approval.Publication) { w.Agents = []string{"deploy-*"} }, nil, "for other agents"},
		"another cluster":     {stricter, func(w *approval.Publication) { w.Cluster = "test" }, nil, "another cluster"},
		"no publisher":        {stricter, asIs, func(p *press) { p.roster.Publishers = nil }, "publishers"},
		"no roster":           {stricter, asIs, func(p *press) { p.roster = nil }, "no roster"},
		"it is not recorded":  {stricter, asIs, func(p *press) { p.unwritten = errors.New("the disk is full") }, "the disk is full"},
		"it cannot be pinned": {stricter, asIs, func(p *press) { must(p.t, os.MkdirAll(p.cfg.Pin+".new", 0o700)) }, "pin the policy"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPress(t)
			p.policies.Deliver(p.print(masking, asIs))
			if test.spoil != nil {
				test.spoil(p)
			}
			bad := p.print(test.text, test.change)
			p.policies.Deliver(bad)
			p.policies.Deliver(bad) // again and again, as the collector has it
			if p.policies.Current().Hash() != approval.PolicyHash([]byte(masking)) {
				t.Fatal("it is in force")
			}
			if len(p.refused) == 0 || !strings.Contains(p.refused[0], test.want) || p.policies.Refused() == 0 {
				t.Errorf("told: %q, counted %d", p.refused, p.policies.Refused())
			}
			if p.unwritten = nil; p.roster != nil && p.unfit == nil && p.roster.Publishers != nil {
				p.inForce(masking)
			}
		})
	}
}

func TestRefusedPolicyIsTakenOnceItFits(t *testing.T) {
	p := newPress(t)
	bad := p.print(stricter, asIs)
	p.unfit = errors.New("secrets/x is not there")
	p.policies.Deliver(bad)
	p.unfit = nil
	p.policies.Deliver(bad)
	p.inForce(stricter)
	if len(p.refused) != 1 {
		t.Errorf("told: %q", p.refused)
	}
}

func TestPinnedPolicyThatFitsNoLongerGivesWayToTheFileLoudly(t *testing.T) {
	for name, spoil := range map[string]func(p *press){
		"the file protects something else": func(p *press) {
			other, err := policy.Parse(p.cfg.Name, []byte(strings.Replace(ownPolicy, "5432", "5433", 1)))
			must(p.t, err)
			p.cfg.Own = other
		},
		"its publisher has left": func(p *press) { p.roster.Publishers = []string{"others"} },
		"the pin is damaged":     func(p *press) { must(p.t, os.WriteFile(p.cfg.Pin, []byte("{"), 0o600)) },
	} {
		p := newPress(t)
		p.policies.Deliver(p.print(stricter, asIs))
		spoil(p)
		p.open()
		if p.policies.Current() != p.cfg.Own || len(p.refused) != 1 || !strings.Contains(p.refused[0], "no longer") {
			t.Errorf("%s: refused %q", name, p.refused)
		}
	}
	p := newPress(t)
	p.policies.Deliver(p.print(stricter, asIs))
	p.roster.NotAfter = time.Now().Add(-time.Hour)
	p.inForce(stricter) // what is in force does not end with the roster
}

func TestOpenSessionGoesOnUnderNewRulesAndEndsWithNewMasks(t *testing.T) {
	p := newPress(t)
	ended := 0
	f := p.policies.Follow("shop-db", func() { ended++ })
	defer f.Close()
	p.policies.Deliver(p.print(stricter, asIs))
	if f.Policy() != p.policies.Current() || f.Changed() || ended != 0 {
		t.Errorf("new rules do not hold for the next operation; ended %d", ended)
	}
	p.policies.Deliver(p.print(masking, asIs))
	if !f.Changed() || ended != 1 || f.Policy() != f.Began() {
		t.Errorf("a session with the old masks goes on: changed %v, ended %d", f.Changed(), ended)
	}
	p.policies.Deliver(p.print(stricter, asIs))
	if ended != 1 {
		t.Errorf("it was ended %d times", ended)
	}
}
