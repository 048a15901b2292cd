package siem_test

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/siem"
	"github.com/sluicegate/sluice/pkg/workload"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hostile is text that tries to leave the field that holds it.
const hostile = "SELECT '|CEF:0|x|y|1|2|3|10|act=Allowed cs1=forged msg=\\'; -- a=b|c\r\n<110>1 - evil - - - - \u2028next\u202egnp.exe\x1b[2J\x00 \xff"

var began = time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC)

func workloadOf() workload.Workload {
	return workload.Workload{
		Assurance: workload.Verified,
		Kernel:    workload.KernelFacts{CgroupID: 42, NetnsCookie: 1 << 40, PID: 4711, Exe: "/usr/bin/psql", Container: "c0ffee"},
		Orch:      workload.OrchFacts{Source: "docker", Container: "c0ffee", Name: "ci-job", Image: "acme/runner:1"},
		Verified:  map[string]any{"repository": "acme/shop", "run_id": "77"},
		Claimed:   workload.Claims{Command: []string{"psql"}},
		Agent:     workload.Agent{Kind: workload.AgentAI, Product: "Claude Code", Evidence: []string{"claimed.env CLAUDECODE"}},
	}
}

func opened(id, resource, protocol, at string) record.Header {
	return record.Header{Type: record.SessionOpened, Session: id, Opened: &session.Session{
		ID: id, Resource: resource, Protocol: protocol, Destination: netip.MustParseAddrPort(at), Started: began, Workload: workloadOf(),
	}}
}

// pair is a record before it has bytes.
type pair struct {
	header record.Header
	body   record.Body
}

func asked(id string, no uint64, in record.Intent, body record.Body) pair {
	in.Policy = "ab12"
	return pair{record.Header{Type: record.OperationIntent, Session: id, Operation: no, Intent: &in}, body}
}

func ended(id string, no uint64, out record.Outcome, body record.Body) pair {
	return pair{record.Header{Type: record.OperationOutcome, Session: id, Operation: no, Outcome: &out}, body}
}

func text(s string) record.Body { return record.Body{Text: s} }

func pointer[T any](v T) *T { return &v }

// databaseRecords are a session at a database.
func databaseRecords() []pair {
	const id = "pg00000000000000"
	sql := func(kind, class string, relations ...string) []record.Statement {
		return []record.Statement{{Kind: kind, Class: class, Relations: relations}}
	}
	return []pair{
		{opened(id, "shop-db", "postgres", "192.0.2.10:5432"), record.Body{}},
		asked(id, 1, record.Intent{Kind: "connect", Parsed: true, Database: "shop", Role: "app", Effect: "allow"}, record.Body{}),
		ended(id, 1, record.Outcome{Status: "ok", Duration: 5e6}, record.Body{}),
		asked(id, 2, record.Intent{Kind: "statement", Parsed: true, ReadOnly: true, Statements: sql("SELECT", "read", "public.customers"), Database: "shop", Role: "app", Effect: "allow"},
			record.Body{Text: "SELECT email FROM customers WHERE id = $1", Params: []record.Param{{Text: pointer("7")}, {Null: true}, {Sealed: "hmac-sha256:00ff", Length: 9}, {Bytes: []byte{1, 0xff}}}}),
		ended(id, 2, record.Outcome{Status: "ok", Tag: "SELECT 1", Rows: 1, Masked: 1, Duration: 3e6, Response: 20, Chunk: &record.Chunk{Stream: "response", Size: 20}},
			record.Body{Bytes: []byte("D\x00\x00\x00\x0a***")}),
		asked(id, 3, record.Intent{Kind: "statement", Parsed: true, Statements: sql("DROP TABLE", "ddl", "public.orders"), Database: "shop", Role: "app", Effect: "deny", Rule: "no-drops", Reason: "Not for pipelines."}, text("DROP TABLE orders")),
		ended(id, 3, record.Outcome{Status: "refused", Code: "42501"}, record.Body{}),
		{record.Header{Type: record.ApprovalRequested, Session: id, Operation: 4, Approval: &record.Approval{ID: "a1", Number: 12, Rule: "ask-dba", State: "pending"}}, record.Body{Extra: json.RawMessage(`{"request":"…"}`)}},
		{record.Header{Type: record.ApprovalVoted, Session: id, Operation: 4, Approval: &record.Approval{ID: "a1", Number: 12, Rule: "ask-dba", State: "approved", Approver: "ada"}}, record.Body{}},
		asked(id, 4, record.Intent{Kind: "statement", Parsed: true, Statements: sql("UPDATE", "write", "public.orders"), Database: "shop", Role: "app", Effect: "allow", Rule: "ask-dba", Approval: 12, Decider: "ada"}, text("UPDATE orders SET total = 0")),
		ended(id, 4, record.Outcome{Status: "failed", Code: "23514", Duration: 2e6}, record.Body{}),
		asked(id, 5, record.Intent{Kind: "statement", Effect: "deny", Rule: "unparsed", Observed: true}, record.Body{Bytes: []byte(hostile), More: true}),
		{record.Header{Type: record.OperationChunk, Session: id, Operation: 5, Chunk: &record.Chunk{Stream: "request", Size: 4}}, record.Body{Text: "rest", More: true}},
		asked(id, 6, record.Intent{Kind: "copy-in", Parsed: true, Statements: sql("COPY", "copy", "public.orders"), Effect: "allow"}, text("COPY orders FROM STDIN")),
		ended(id, 6, record.Outcome{Status: "refused", Code: "42501", Rule: "pii"}, record.Body{}),
		{record.Header{Type: record.SessionClosed, Session: id, Closed: &record.Closed{Records: 17, Operations: 6, Denied: 1, Held: 1, Masked: 1, Reason: "violation: too large"}}, record.Body{}},
	}
}

// otherRecords are of hosts, repositories, people and agents.
func otherRecords() []pair {
	const host, web, kube = "ssh0000000000000", "web0000000000000", "kube000000000000"
	return []pair{
		{record.Header{Type: record.AgentStarted, Agent: &record.Agent{Version: "0.9.0", Host: "runner-1", Policy: "ab12"}}, record.Body{}},
		{opened(host, "build-host", "ssh", "192.0.2.22:22"), record.Body{}},
		asked(host, 1, record.Intent{Kind: "exec", Parsed: true, SSH: &record.SSH{Type: "exec", Programs: []string{"make"}}, Effect: "allow"}, text("make deploy")),
		asked(host, 2, record.Intent{Kind: "file", Parsed: true, SSH: &record.SSH{Type: "sftp", Action: "write", Path: "/srv/app.tar"}, Effect: "deny", Rule: "read-only"}, record.Body{}),
		asked(host, 3, record.Intent{Kind: "push", Parsed: true, Git: &record.Git{Repository: "acme/shop", Refs: []record.GitRef{{Name: "refs/heads/main", Kind: "update", Old: "aa", New: "bb", Forced: "true", Lost: []string{"aa"}}}}, Effect: "deny", Rule: "no-force"}, record.Body{}),
		asked(host, 4, record.Intent{Kind: "fetch", Parsed: true, ReadOnly: true, Git: &record.Git{Repository: "acme/shop"}, Effect: "allow"}, record.Body{}),
		{record.Header{Type: record.ApprovalSettled, Session: host, Operation: 5, Approval: &record.Approval{ID: "a2", Rule: "ask", State: record.BrokenGlass, Reason: "outage"}}, record.Body{}},
		{record.Header{Type: record.SessionClosed, Session: host, Closed: &record.Closed{Records: 6, Reason: "client"}}, record.Body{}},
		{opened(web, "registry", "web", "[2001:db8::1]:443"), record.Body{}},
		asked(web, 1, record.Intent{Kind: "http", Parsed: true, ReadOnly: true, HTTP: &record.HTTP{Method: "GET", Host: "registry.lab", Path: "/v2/"}, Effect: "allow"}, text("GET /v2/?n=1")),
		ended(web, 1, record.Outcome{Status: "failed", Code: "404"}, record.Body{}),
		{opened(kube, "cluster", "kubernetes", "192.0.2.64:6443"), record.Body{}},
		asked(kube, 1, record.Intent{
			Kind: "http", Parsed: true, Kube: &record.Kube{Verb: "delete", Group: "apps", Version: "v1", Resource: "deployments", Namespace: "shop", Name: "web"},
			HTTP: &record.HTTP{Method: "DELETE", Host: "kube.lab", Path: "/apis/apps/v1/namespaces/shop/deployments/web"}, Effect: "deny", Rule: "no-deletes",
		}, text("DELETE /apis/apps/v1/namespaces/shop/deployments/web?propagationPolicy=Background\nContent-Type: application/json\n\n{}")),
		ended(kube, 1, record.Outcome{Status: "refused", Code: "403"}, record.Body{}),
		asked(kube, 2, record.Intent{
			Kind: "exec", Parsed: true, Kube: &record.Kube{Verb: "create", Version: "v1", Resource: "pods", Subresource: "exec", Namespace: "shop", Name: "web-1", Container: "app"},
			HTTP: &record.HTTP{Method: "GET", Path: "/api/v1/namespaces/shop/pods/web-1/exec"}, Effect: "allow",
		}, text("GET /api/v1/namespaces/shop/pods/web-1/exec?command=id")),
		asked(kube, 3, record.Intent{
			Kind: "http", Parsed: true, ReadOnly: true, Kube: &record.Kube{Verb: "get"}, HTTP: &record.HTTP{Method: "GET", Path: "/version"}, Effect: "allow",
		}, text(hostile)),
		ended("unknown000000000", 9, record.Outcome{Status: "abandoned"}, record.Body{}),
		{record.Header{Type: record.AgentAlert, Alert: &record.Alert{Kind: "backstop-drop", Destination: "192.0.2.10:5432", Count: 3, Detail: "a packet that the agent did not send"}}, record.Body{}},
		{record.Header{Type: record.AgentOrder, Order: &record.Order{ID: "o1", Kind: "quarantine", Container: "c0ffee", By: "ada", Reason: "leak"}}, record.Body{}},
		{record.Header{Type: record.AgentPolicy, Agent: &record.Agent{Version: "0.9.0", Host: "runner-1", Policy: "cd34"}}, record.Body{Extra: json.RawMessage(`{"sequence":2}`)}},
		{record.Header{Type: record.ApprovalSettled, Session: kube, Operation: 1, Approval: &record.Approval{ID: "a3", Rule: "ask", State: record.Preapproved, Approver: "ada"}}, record.Body{}},
		{record.Header{Type: record.PersonActed, Person: &record.Person{Act: "search", Name: "ada@example.com", Issuer: "https://id.example.com", Subject: "1", From: "192.0.2.99"}}, text("orders")},
	}
}

// events are all of these as a Reader gives them; one body was destroyed, and
// the last record makes no sense.
func events(t testing.TB) []siem.Event {
	t.Helper()
	var entries []record.Entry
	for i, p := range append(databaseRecords(), otherRecords()...) {
		p.header.No, p.header.Time = uint64(i), began.Add(time.Duration(i)*time.Millisecond)
		header, err := record.AppendHeader(nil, &p.header)
		check(t, err)
		body, err := record.AppendBody(nil, &p.body)
		check(t, err)
		entries = append(entries, record.Entry{No: uint64(i), Header: header, Body: body})
	}
	entries[9] = entries[9].Shred()
	entries = append(entries, record.Entry{No: uint64(len(entries)), Header: []byte("{}")})
	reader := siem.Reader{}
	all, err := reader.Events(siem.Batch{Cluster: "prod", Agent: "node-1", Epoch: "000102030405060708090a0b0c0d0e0f", Index: 5, Entries: entries})
	check(t, err)
	return all
}

func written(t testing.TB, format siem.Format, all []siem.Event) []byte {
	t.Helper()
	var out []byte
	var err error
	for i := range all {
		out, err = format.Append(out, &all[i])
		check(t, err)
	}
	return out
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		check(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
