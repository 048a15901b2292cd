package guard_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// reloadable lets the policy be replaced while the session is open.
func (b *bench) reloadable(t *testing.T, scope approval.Scope) (reload func(text string)) {
	t.Helper()
	var now atomic.Pointer[policy.Policy]
	reload = func(text string) {
		p, err := policy.Parse("policy.yaml", []byte(text))
		must(t, err)
		now.Store(p)
	}
	cfg := b.guard.Config
	cfg.Policy = now.Load
	b.guard = guard.New(cfg)
	reload(strings.Replace(rules, "timeout: 30s", "timeout: 30s, scope: "+string(scope), 1))
	return reload
}

// denying is a policy under which nothing is allowed.
var denying = strings.Replace(rules, "default: allow", "default: deny", 1)

func TestNewPolicyHoldsForTheNextOperation(t *testing.T) {
	b := newBench(t, verified())
	reload := b.reloadable(t, approval.Once)
	for _, test := range []struct {
		text string
		want protocol.Effect
	}{{rules, protocol.Allow}, {denying, protocol.Deny}, {rules, protocol.Allow}} {
		reload(test.text)
		decision, err := b.decide(t, t.Context(), statement("SELECT", operation.Read))
		must(t, err)
		if decision.Effect != test.want {
			t.Errorf("under the new policy: %+v", decision)
		}
	}
}

func TestYesUnderOnePolicyIsNoneUnderAnother(t *testing.T) {
	for _, scope := range []approval.Scope{approval.SessionScope, approval.ShapeScope} {
		b := newBench(t, verified())
		reload := b.reloadable(t, scope)
		if asked, decision := b.asks(t, alter("a"), scope); !asked || decision.Effect != protocol.Allow {
			t.Fatalf("%s: the first: asked %v, %+v", scope, asked, decision)
		}
		if asked, decision := b.asks(t, alter("a"), scope); asked || decision.Effect != protocol.Allow {
			t.Errorf("%s: remembered: asked %v, %+v", scope, asked, decision)
		}
		reload(strings.Replace(rules, "timeout: 30s", "timeout: 31s, scope: "+string(scope), 1))
		if asked, _ := b.asks(t, alter("a"), scope); !asked {
			t.Errorf("%s: a yes of the old policy counts under the new one", scope)
		}
	}
}

func TestPolicyThatChangesWhileSomebodyIsAskedEndsTheHold(t *testing.T) {
	b := newBench(t, verified())
	reload := b.reloadable(t, approval.Once)
	go func() {
		signed := <-b.sent
		reload(denying)
		b.sent <- signed
		b.vote(t, approval.Approve)
	}()
	decision, err := b.decide(t, t.Context(), alter("a"))
	must(t, err)
	if decision.Effect != protocol.Deny || !strings.Contains(decision.Reason, "policy changed") {
		t.Errorf("an old question's yes: %+v", decision)
	}
}
