package approval_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/workload"
)

func TestActionHashChangesWithEverythingThatMatters(t *testing.T) {
	base := func() *operation.Operation {
		return &operation.Operation{
			Kind: operation.Statement, Bytes: []byte("DELETE FROM t WHERE id=$1"),
			Params:  []operation.Param{{Text: operation.Text("1")}, {Text: operation.Text("2")}},
			Context: operation.Context{Database: "shop", Role: "app", SearchPath: "public"},
		}
	}
	hash := func(change func(*operation.Operation)) string {
		op := base()
		change(op)
		return approval.ActionHash(op, "shop-db", "job", "policy")
	}
	hashes := map[string]string{
		"unchanged": hash(func(*operation.Operation) {}),
		"kind":      hash(func(op *operation.Operation) { op.Kind = operation.Call }),
		"bytes":     hash(func(op *operation.Operation) { op.Bytes = []byte("DELETE FROM t WHERE id=$2") }),
		"source":    hash(func(op *operation.Operation) { op.Source = []byte("DELETE FROM t") }),
		"parameter": hash(func(op *operation.Operation) { op.Params[1].Text = operation.Text("3") }),
		"parameters moved": hash(func(op *operation.Operation) {
			op.Params[0].Text, op.Params[1].Text = operation.Text("12"), operation.Text("")
		}),
		"NULL":             hash(func(op *operation.Operation) { op.Params[1] = operation.Param{Null: true} }),
		"empty, not NULL":  hash(func(op *operation.Operation) { op.Params[1] = operation.Param{} }),
		"binary":           hash(func(op *operation.Operation) { op.Params[1].Binary = true }),
		"type":             hash(func(op *operation.Operation) { op.Params[1].Type = 25 }),
		"fewer parameters": hash(func(op *operation.Operation) { op.Params = op.Params[:1] }),
		"database":         hash(func(op *operation.Operation) { op.Context.Database = "shopapp" }),
		"field boundary":   hash(func(op *operation.Operation) { op.Context.Database, op.Context.Role = "shopa", "pp" }),
		"role":             hash(func(op *operation.Operation) { op.Context.Role = "admin" }),
		"search path":      hash(func(op *operation.Operation) { op.Context.SearchPath = "evil, public" }),
		"in a transaction": hash(func(op *operation.Operation) { op.Context.InTransaction = true }),
		"resource":         approval.ActionHash(base(), "other-db", "job", "policy"),
		"principal":        approval.ActionHash(base(), "shop-db", "job2", "policy"),
		"policy":           approval.ActionHash(base(), "shop-db", "job", "policy2"),
	}
	seen := map[string]string{}
	for name, hash := range hashes {
		if other, twice := seen[hash]; twice {
			t.Errorf("%q and %q have the same hash", name, other)
		}
		seen[hash] = name
	}
	if again := hash(func(*operation.Operation) {}); again != hashes["unchanged"] {
		t.Error("the same action has two hashes")
	}
}

func TestTriggerIsTakenFromVerifiedClaimsOnly(t *testing.T) {
	w := workload.Workload{
		Assurance: workload.Verified,
		Verified:  map[string]any{"iss": forge, "sub": "repo:a/b", "actor_id": "77"},
	}
	if got := approval.TriggerOf(w); got == nil || *got != (approval.Account{Issuer: forge, Subject: "actor_id:77"}) {
		t.Errorf("TriggerOf = %+v", got)
	}
	if got := approval.RequesterOf(w).Account; got != (approval.Account{Issuer: forge, Subject: "repo:a/b"}) {
		t.Errorf("RequesterOf = %+v", got)
	}
	w.Assurance = workload.Orchestrated
	if got := approval.TriggerOf(w); got != nil {
		t.Errorf("below A3: TriggerOf = %+v", got)
	}
	if got := approval.RequesterOf(w).Account; got != (approval.Account{}) {
		t.Errorf("below A3: RequesterOf = %+v", got)
	}
}
