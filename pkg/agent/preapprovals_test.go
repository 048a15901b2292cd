package agent_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/approval"
)

func TestPreapprovalsOutliveTheAgentAndAreTakenBack(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	line, err := approval.FormatPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	roster := &approval.Roster{NotAfter: time.Now().Add(time.Hour), Approvers: []approval.Approver{{Name: "ada", Keys: []string{line}}}}
	sign := func(change func(*approval.Preapproval)) (string, []byte) {
		t.Helper()
		p := approval.Preapproval{
			ID: approval.NewID(), Cluster: "main", Issuer: "https://ci.example", Repository: "acme/shop", Commit: strings.Repeat("a", 40), Resource: "shop-db", Rule: "ddl",
			Where: approval.Where{Database: "shop", Role: "app"}, File: strings.Repeat("b", 64), Shapes: []approval.Shape{{Digest: strings.Repeat("c", 64), Line: 1}},
			By: "ada", At: time.Now(), Expires: time.Now().Add(time.Hour),
		}
		change(&p)
		signed, err := approval.SignPreapproval(p, private)
		if err != nil {
			t.Fatal(err)
		}
		return p.ID, signed
	}
	lifted := map[string]bool{}
	dir := filepath.Join(t.TempDir(), "pre-approved")
	open := func() *agent.Preapprovals {
		return agent.NewPreapprovals(dir, "main", func() *approval.Roster { return roster }, func(id string) bool { return lifted[id] }, zap.NewNop())
	}
	if all := open().All(); len(all) != 0 {
		t.Errorf("before the directory is there: %d", len(all))
	}
	id, good := sign(func(*approval.Preapproval) {})
	brief, short := sign(func(p *approval.Preapproval) { p.Expires = time.Now().Add(300 * time.Millisecond) })
	_, foreign := sign(func(p *approval.Preapproval) { p.Cluster = "lab" })
	_, strange := sign(func(p *approval.Preapproval) { p.By = "eve" })
	p := open()
	for _, signed := range [][]byte{good, good, short, foreign, strange, []byte("junk")} {
		p.Deliver(signed)
	}
	if all := open().All(); len(all) != 2 {
		t.Fatalf("%d are kept, want 2", len(all))
	}
	if err := os.WriteFile(filepath.Join(dir, "of-the-owner"), foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all := open().All(); len(all) != 3 {
		t.Errorf("with the owner's there are %d, want 3", len(all))
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		_, another := sign(func(*approval.Preapproval) {})
		p.Deliver(another)
		if _, err := os.Stat(filepath.Join(dir, brief)); os.IsNotExist(err) {
			break
		}
	}
	if _, err := os.Stat(filepath.Join(dir, brief)); !os.IsNotExist(err) {
		t.Error("what has expired is kept")
	}
	before := len(p.All())
	lifted[id] = true
	if after := len(p.All()); after != before-1 {
		t.Errorf("taken back, %d of %d are left", after, before)
	}
	for range 100 {
		_, another := sign(func(*approval.Preapproval) {})
		p.Deliver(another)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 64 {
		t.Errorf("%d files are kept, %v", len(entries), err)
	}
}
