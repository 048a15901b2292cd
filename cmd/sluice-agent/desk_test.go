package main

import (
	"crypto/ed25519"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/config"
)

// What an agent has seen outlives it: who puts back a roster with somebody who
// has left, starts no agent by it.
func TestAgentUsesNoRosterOlderThanOneItHasSeen(t *testing.T) {
	t.Chdir(t.TempDir())
	newKey := func() (ed25519.PrivateKey, string) {
		t.Helper()
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		line, err := approval.FormatPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return private, line
	}
	root, rootLine := newKey()
	stranger, _ := newKey()
	_, ada := newKey()
	signed := func(version uint64, by ed25519.PrivateKey) []byte {
		t.Helper()
		file, err := approval.SignRoster(approval.Roster{
			Version: version, NotAfter: time.Now().Add(time.Hour),
			Approvers: []approval.Approver{{Name: "ada", Groups: []string{"dba"}, Keys: []string{ada}, Accounts: []approval.Account{{Issuer: "https://login.example", Subject: "ada"}}}},
		}, by)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	var cfg config.Agent
	cfg.Approvals.RootKey = rootLine
	for _, test := range []struct {
		name string
		file []byte
		want error
	}{
		{"the first", signed(2, root), nil},
		{"the same again", signed(2, root), nil},
		{"an older one", signed(1, root), approval.ErrRollback},
		{"a newer one of another root", signed(3, stranger), approval.ErrSignature},
		{"a newer one", signed(3, root), nil},
		{"the one before", signed(2, root), approval.ErrRollback},
	} {
		if _, err := useRoster(cfg, test.file); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if err := os.WriteFile(versionFile, []byte("none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := useRoster(cfg, signed(4, root)); err == nil {
		t.Error("what was seen cannot be read, and a roster is used all the same")
	}
}
