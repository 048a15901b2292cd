package postgres_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// ruled allows by a rule of that name; the empty name is the default's.
func ruled(rule string) func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
	return func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
		return protocol.Decision{Effect: protocol.Allow, Rule: rule}, nil
	}
}

// replicates lets a role of its own replicate, and returns its options.
func (s *server) replicates(t *testing.T) proxyOptions {
	t.Helper()
	if err := s.sql("postgres", "DROP ROLE IF EXISTS standby", "CREATE ROLE standby LOGIN REPLICATION PASSWORD 'standby-secret'"); err != nil {
		t.Fatal(err)
	}
	return proxyOptions{user: "standby", password: "standby-secret"}
}

func (p *proxy) identify(replication string) (string, error) {
	uri := fmt.Sprintf("host=127.0.0.1 port=%d user=job dbname=shop connect_timeout=10 sslmode=disable replication=%s", p.port, replication)
	out, err := exec.Command("psql", "-X", "-At", uri, "-c", "IDENTIFY_SYSTEM").CombinedOutput()
	return string(out), err
}

func TestReplicationIsRefusedUnlessARuleAllowsIt(t *testing.T) {
	s := realServer(t)
	masked := []mask.Column{{Schema: "public", Table: "t", Column: "c", Mask: "m", Method: mask.Redact}}
	for _, test := range []struct {
		name, replication, rule string
		masks                   []mask.Column
		sqlRules                bool
		refusal                 string
	}{
		{name: "by the default", replication: "true", refusal: "no rule allows replication"},
		{name: "physical", replication: "true", rule: "backups"},
		{name: "logical", replication: "database", rule: "backups"},
		{name: "physical beside rules on SQL", replication: "on", rule: "backups", sqlRules: true},
		{name: "logical beside rules on SQL", replication: "database", rule: "backups", sqlRules: true, refusal: "rules read op.sql"},
		{name: "where masks apply", replication: "true", rule: "backups", masks: masked, refusal: "masks apply"},
		{name: "in other words", replication: "tru", rule: "backups", refusal: "words that are not passed on"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := s.replicates(t)
			o.decide, o.masks, o.sqlRules = ruled(test.rule), test.masks, test.sqlRules
			p := startProxy(t, s, o)
			out, err := p.identify(test.replication)
			if test.refusal == "" && (err != nil || !strings.Contains(out, "|1|0/")) || test.refusal != "" && (err == nil || !strings.Contains(out, test.refusal)) {
				t.Fatalf("%v: psql said %q", err, out)
			}
			p.guard.mu.Lock()
			defer p.guard.mu.Unlock()
			if len(p.guard.seen) > 0 && (p.guard.seen[0].Kind != operation.Replication || p.guard.seen[0].ReadOnly) {
				t.Errorf("asked about %s, read-only %v", p.guard.seen[0].Kind, p.guard.seen[0].ReadOnly)
			}
			if recorded := p.guard.recorded.String(); strings.Contains(recorded, "IDENTIFY_SYSTEM") != (test.refusal == "") {
				t.Errorf("recorded %q", recorded)
			}
		})
	}
}

// A base backup takes two sessions, one of which streams the log meanwhile.
func TestBaseBackupGoesThrough(t *testing.T) {
	s := realServer(t)
	o := s.replicates(t)
	o.decide = ruled("backups")
	p := startProxy(t, s, o)
	dir := filepath.Join(t.TempDir(), "backup")
	cmd := exec.CommandContext(t.Context(), filepath.Join(binaries(), "pg_basebackup"), "-D", dir, "-X", "stream", "-c", "fast",
		"-d", fmt.Sprintf("host=127.0.0.1 port=%d user=job sslmode=disable", p.port))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries(), "pg_verifybackup"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("pg_verifybackup: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "pg_wal")); err != nil {
		t.Error(err)
	}
}
