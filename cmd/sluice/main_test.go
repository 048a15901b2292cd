package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// variable is what differs from run to run in what is printed.
var variable = regexp.MustCompile(`epoch [0-9a-f]{32}`)

// golden compares output with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = variable.ReplaceAllString(got, "epoch EPOCH")
	path := filepath.Join("testdata", name+".golden")
	if *update {
		check(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// afternoon is one session whose every record is known beforehand.
func afternoon() (id string, records []collectortest.Record) {
	s := collectortest.NewSession(time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC))
	s.ID = "0123456789abcdef"
	records = append(records, s.Opened())
	records = append(records, s.Query("SELECT email FROM customers\nORDER BY id", "email", "[redacted]", "[redacted]")...)
	records = append(records, s.Denied("DROP TABLE orders", "never-drop-a-table")...)
	records = append(records, s.Approval(record.ApprovalRequested, record.Approval{ID: strings.Repeat("a", 32), State: "pending", Rule: "schema-changes"}))
	records = append(records, s.Approval(record.ApprovalSettled, record.Approval{
		ID: strings.Repeat("a", 32), Number: 7, State: "approved", Approver: "ada", Rule: "schema-changes", Reason: "planned",
	}))
	records = append(records, s.Query("ALTER TABLE orders ADD COLUMN note text", "x")...)
	return s.ID, append(records, s.Closed())
}

func TestResponderFindsReadsAndReplaysASession(t *testing.T) {
	d := newDesk(t)
	id, records := afternoon()
	d.send(id, records...)
	golden(t, "sessions", d.sluice(0, "sessions", "--limit", "5"))
	golden(t, "show", d.sluice(0, "show", id))
	golden(t, "replay", d.sluice(0, "replay", id))
	golden(t, "search", d.sluice(0, "search", "customers"))

	var sessions []map[string]any
	check(t, json.Unmarshal([]byte(d.sluice(0, "sessions", "--json", "--limit", "1")), &sessions))
	for _, key := range []string{
		"id", "resource", "protocol", "started", "ended", "assurance", "kernel", "orch", "verified", "claimed", "agent",
		"operations", "denied", "held", "masked",
	} {
		if _, ok := sessions[0][key]; !ok {
			t.Errorf("sessions --json has no %s", key)
		}
	}
	for _, args := range [][]string{{"show", id}, {"replay", id}, {"search", "customers"}, {"agents"}, {"findings"}, {"approvals"}} {
		if out := d.sluice(0, append(args, "--json")...); !json.Valid([]byte(out)) {
			t.Errorf("%v --json prints no JSON: %s", args, out)
		}
	}
	if out := d.sluice(0, "agents"); !strings.Contains(out, "live") {
		t.Errorf("agents: %s", out)
	}
	if out := d.sluice(2, "show", "nobody"); !strings.Contains(out, "not found") {
		t.Errorf("show of nothing: %s", out)
	}
}

func TestEvidenceVerifiesUntilOneByteIsChanged(t *testing.T) {
	d := newDesk(t)
	id, records := afternoon()
	d.send(id, records...)
	seal := d.node.Signed(func(b *record.Batch) { b.Seal = true })
	check(t, d.bus.PublishBatch(t.Context(), seal.Note, seal.Payload))
	await(t, "the chain is sealed", func() bool { return strings.Contains(d.sluice(0, "agents"), "sealed") })

	if out := d.sluice(0, "verify"); !strings.Contains(out, "all holds") {
		t.Errorf("verify: %s", out)
	}
	for _, what := range [][]string{{"--session", id}, {"--since", "1h"}} {
		bundle := d.path("bundle" + what[0])
		d.sluice(0, append([]string{"export", "-o", bundle}, what...)...)
		d.sluice(0, "verify", bundle)
		alter(t, bundle, "DROP TABLE orders")
		if out := d.sluice(1, "verify", bundle); !strings.Contains(out, "record-altered") || !strings.Contains(out, "session "+id) {
			t.Errorf("verify of an altered bundle: %s", out)
		}
		d.sluice(2, append([]string{"export", "-o", bundle}, what...)...)
	}
	d.sluice(2, "verify", d.path("nowhere"))
	d.sluice(2, "verify", d.path("token"))
	d.sluice(2, "verify", d.path("issuer"))
}

// alter flips one bit of the record that holds words.
func alter(t *testing.T, bundle, words string) {
	t.Helper()
	altered := 0
	check(t, filepath.WalkDir(bundle, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if position := bytes.Index(data, []byte(words)); err == nil && position >= 0 {
			altered++
			data[position] ^= 0x20
			return os.WriteFile(path, data, 0o600)
		}
		return err
	}))
	if altered != 1 {
		t.Fatalf("%d files hold %q", altered, words)
	}
}

func (d *desk) ask() string {
	d.t.Helper()
	r := approval.Request{
		ID: approval.NewID(), Agent: node, Cluster: collectortest.Cluster, Session: "s", Operation: 1, Resource: "shop-db",
		Where:    approval.Where{Database: "shop", Role: "clerk", SearchPath: "moved\nrule      harmless"},
		FourEyes: approval.Waived, Action: strings.Repeat("0", 64), Text: "ALTER TABLE orders\x1b[2J", Rule: "schema-changes",
		Scope: approval.Once, Required: approval.Required{Groups: []string{"dba"}, Votes: 1},
		Created: time.Now(), NotAfter: time.Now().Add(time.Minute),
	}
	signed, err := approval.SignRequest(r, d.key)
	check(d.t, err)
	await(d.t, "the bus takes the request", func() bool {
		return d.bus.PublishApprovalRequest(d.t.Context(), r.ID, signed) == nil
	})
	var list []struct {
		ID     string `json:"id"`
		Number int    `json:"number"`
	}
	number := ""
	await(d.t, "the approval is listed", func() bool {
		check(d.t, json.Unmarshal([]byte(d.sluice(0, "approvals", "list", "--json")), &list))
		for _, a := range list {
			if a.ID == r.ID {
				number = fmt.Sprint(a.Number)
			}
		}
		return number != ""
	})
	return number
}

func TestApproverDecidesWithTheirOwnKey(t *testing.T) {
	d := newDesk(t)
	number := d.ask()
	out := d.sluice(0, "approvals", "show", number)
	if !strings.Contains(out, "ALTER TABLE orders") || strings.Contains(out, "\x1b") {
		t.Errorf("show: %q", out)
	}
	if !strings.Contains(out, "database shop, role clerk, search_path moved rule harmless\n") {
		t.Errorf("show does not say where, on one line: %q", out)
	}
	if out := d.sluice(0, "approvals", "approve", number, "--reason", "planned"); !strings.Contains(out, "approved") {
		t.Errorf("approve: %s", out)
	}
	d.sluice(2, "approvals", "deny", number)
	other := d.ask()
	d.newKey("eve.pem")
	if out := d.sluice(2, "approvals", "approve", other, "--key", d.path("eve.pem")); !strings.Contains(out, "does not count") {
		t.Errorf("a key that is in no roster: %s", out)
	}
	if out := d.sluice(0, "approvals", "deny", other); !strings.Contains(out, "denied") {
		t.Errorf("deny: %s", out)
	}
	d.sluice(2, "approvals", "show", "99")
	d.sluice(2, "approvals", "show", "../sessions")
}

func TestRequestOfAnUnpinnedAgentIsNotShown(t *testing.T) {
	d := newDesk(t)
	number := d.ask()
	d.write("pinned.json", `{"log": `+jsonField(t, d.read("data/trust.json"), "log")+`, "agents": []}`)
	out := d.sluice(2, "approvals", "approve", number, "--trust", d.path("pinned.json"))
	if !strings.Contains(out, "do not decide") || strings.Contains(out, "ALTER TABLE") {
		t.Errorf("approve: %s", out)
	}
}

func jsonField(t *testing.T, text, name string) string {
	t.Helper()
	var fields map[string]json.RawMessage
	check(t, json.Unmarshal([]byte(text), &fields))
	return string(fields[name])
}

func TestTokenIsNotSentReadableOverANetwork(t *testing.T) {
	d := &desk{t: t, dir: t.TempDir()}
	d.config = d.path("config.yaml")
	d.write("config.yaml", "token_file: token\n")
	d.write("token", "secret")
	if out := d.sluice(2, "sessions", "--collector", "http://192.0.2.1:8420"); !strings.Contains(out, "readable") {
		t.Errorf("sessions: %s", out)
	}
}

func TestPolicyCheckNamesEveryProblem(t *testing.T) {
	d := &desk{t: t, dir: t.TempDir()}
	d.config = d.path("config.yaml")
	d.write("config.yaml", "token_file: token\n")
	d.write("bad.yaml", "version: 1\nrules:\n  - {name: a, effect: hodl}\n")
	out := d.sluice(1, "policy", "check", d.path("bad.yaml"))
	if !strings.Contains(out, "hodl") || !strings.Contains(out, "default") {
		t.Errorf("policy check: %s", out)
	}
	if out := d.sluice(1, "policy", "check", "--json", d.path("bad.yaml")); !json.Valid([]byte(out)) {
		t.Errorf("policy check --json: %s", out)
	}
	d.sluice(2, "policy", "check", d.path("none.yaml"))
}

func TestPolicyTestAsksItsCases(t *testing.T) {
	d := &desk{t: t, dir: t.TempDir()}
	d.config = d.path("config.yaml")
	d.write("config.yaml", "token_file: token\n")
	d.write("policy.yaml", `version: 1
resources:
  - {name: db, protocol: postgres, hosts: [192.0.2.1], port: 5432, credentials: [{user: app, password_file: pw}], server_tls: {mode: "off"}}
rules: []
default: deny
`)
	d.write("good.yaml", "cases:\n  - {name: nothing is allowed, resource: db, op: {}, expect: {effect: deny}}\n")
	d.write("bad.yaml", "cases:\n  - {name: all is allowed, resource: db, op: {}, expect: {effect: allow}}\n")
	d.sluice(0, "policy", "test", d.path("policy.yaml"), d.path("good.yaml"))
	if out := d.sluice(1, "policy", "test", d.path("policy.yaml"), d.path("good.yaml"), d.path("bad.yaml")); !strings.Contains(out, "all is allowed") {
		t.Errorf("policy test: %s", out)
	}
}

func TestConfigurationThatDoesNotFitIsRefused(t *testing.T) {
	d := &desk{t: t, dir: t.TempDir()}
	d.config = d.path("config.yaml")
	d.write("config.yaml", "colector: http://x\n")
	if out := d.sluice(2, "sessions"); !strings.Contains(out, "colector") {
		t.Errorf("sessions: %s", out)
	}
}
