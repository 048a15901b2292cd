package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/record"
)

const stricter = `version: 1
resources:
  - name: shop-db
    protocol: postgres
    hosts: [pg.lab]
    port: 5432
    credentials: [{user: app, password_file: secrets/shop-db}]
rules:
  - name: customers-are-private
    when: op.sql.statements.exists(s, "customers" in s.relations)
    effect: deny
  - name: ask-for-ddl
    when: op.sql.statements.exists(s, s.class == "ddl")
    effect: hold
    approve: {groups: [dba], timeout: 1m}
default: allow
`

func TestSimulateSaysWhatANewPolicyWouldDecideOtherwise(t *testing.T) {
	d := newDesk(t)
	s := collectortest.NewSession(time.Now())
	records := []collectortest.Record{s.Opened()}
	records = append(records, s.Query("SELECT email FROM customers WHERE note = [sealed hmac-sha256:0123456789abcdef 3 bytes]", "email", "x")...)
	records = append(records, s.Query("SELECT 1", "n", "1")...)
	records = append(records, s.Denied("DROP TABLE orders", "never-drop-a-table")...)
	d.send(s.ID, append(records, s.Closed())...)
	d.write("stricter.yaml", stricter)

	var found struct {
		Operations int                `json:"operations"`
		Changes    []simulate.Counted `json:"changes"`
	}
	check(t, json.Unmarshal([]byte(d.sluice(0, "policy", "simulate", d.path("stricter.yaml"), "--json")), &found))
	if found.Operations != 3 || len(found.Changes) != 2 {
		t.Fatalf("found %+v", found)
	}
	for _, c := range found.Changes {
		want := map[string]string{"customers-are-private": "allow deny", "ask-for-ddl": "deny hold"}[c.Rule]
		if c.Was+" "+c.Effect != want || c.Count != 1 || c.Job != "ci-job" || c.Session != s.ID {
			t.Errorf("changed: %+v", c)
		}
	}
	if out := d.sluice(0, "policy", "simulate", d.path("stricter.yaml")); !strings.Contains(out, "now deny") || !strings.Contains(out, "3 operations asked about") {
		t.Errorf("printed %s", out)
	}
	out := d.sluice(0, "policy", "explain", d.path("stricter.yaml"), s.ID, "1")
	if !strings.Contains(out, "* deny  customers-are-private matches") || strings.Contains(out, "DROP") {
		t.Errorf("explained %s", out)
	}
	d.write("wrong.yaml", "version: 2\n")
	d.sluice(1, "policy", "simulate", d.path("wrong.yaml"))
}

func TestObserveReportAddsUpWhatWouldHaveBeen(t *testing.T) {
	d := newDesk(t)
	s := collectortest.NewSession(time.Now())
	records := []collectortest.Record{s.Opened()}
	for _, text := range []string{"DROP TABLE a", "DROP TABLE b"} {
		denied := s.Denied(text, "never-drop-a-table")
		denied[0].Header.Intent.Observed = true
		records = append(records, denied...)
	}
	unclear := s.Query("SELEC", "x")
	unclear[0].Header.Intent = &record.Intent{Kind: "statement", Effect: "allow", Observed: true}
	records = append(records, unclear...)
	hidden := s.Query("TLS for db.lab", "x")
	hidden[0].Header.Intent = &record.Intent{Kind: "unread", Effect: "allow", Observed: true, Reason: "encrypted by the job"}
	records = append(records, hidden...)
	records = append(records, s.Denied("DROP TABLE enforced", "never-drop-a-table")...)
	d.send(s.ID, append(records, s.Closed())...)
	out := d.sluice(0, "policy", "observe-report")
	for _, want := range []string{
		"2      shop-db   allow  would be deny", "would be allow (not understood)", "never-drop-a-table", "ci-job",
		"not read: encrypted by the job", "4 operations asked about, and 1 session of which nobody read all",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := d.sluice(0, "show", s.ID); !strings.Contains(out, "not read: encrypted by the job") {
		t.Errorf("shown as %s", out)
	}
	d.write("stricter.yaml", stricter)
	if out := d.sluice(0, "policy", "explain", d.path("stricter.yaml"), s.ID, "4"); !strings.Contains(out, "not read: encrypted by the job") {
		t.Errorf("explained as %s", out)
	}
	if out := d.sluice(0, "policy", "simulate", d.path("stricter.yaml")); !strings.Contains(out, "1 session of which") || strings.Contains(out, "encrypted") {
		t.Errorf("simulated as %s", out)
	}
}
