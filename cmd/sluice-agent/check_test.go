package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckReportsEverythingAtOnce gives the agent files that are all wrong.
func TestCheckReportsEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"agent.yaml": `name: node1
policy: policy.yaml
signing_key_file: signing.key
state_dir: state
bus: {url: "nats://127.0.0.1:4222", nkey_seed_file: seed}
collector: {log_key: "sluice/main+00000000+AAAA"}
approvals:
  roster_file: roster.json
  root_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGd5VCcNrRKuBDe6tfBGQ6ELkJCZ3fgBTcFYzDhRbGLX
`,
		"policy.yaml": "version: 1\nresources: []\nrules:\n  - {name: a, effect: hodl}\ndefault: perhaps\n",
		"signing.key": "nonsense",
		"roster.json": "{}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := root()
	cmd.SetArgs([]string{"check", "--config", filepath.Join(dir, "agent.yaml")})
	err := cmd.Execute()
	if err == nil {
		t.Fatal("wrong files are accepted")
	}
	for _, want := range []string{"signing_key_file", "approvals.roster_file", "rules[0].effect", "default"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in:\n%v", want, err)
		}
	}
}
