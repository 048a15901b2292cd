package simulate_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/shelltext"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

const fewRows = `version: 1
resources:
  - {name: shop-db, protocol: postgres, hosts: [192.0.2.1], port: 5432, credentials: [{user: app, password_file: p}]}
rules:
  - {name: few-rows, when: 'op.sql.statements.exists(s, s.class == "write")', effect: deny, over_rows: 5}
default: allow
`

// what is what the agent records.
func what(t *testing.T, headers ...record.Header) (records []view.Record) {
	t.Helper()
	for i := range headers {
		headers[i].No, headers[i].Session, headers[i].Time = uint64(i), "s1", time.Unix(1, 0)
		header, err := record.AppendHeader(nil, &headers[i])
		if err != nil {
			t.Fatal(err)
		}
		body, err := record.AppendBody(nil, &record.Body{})
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, view.Record{No: uint64(i), Header: header, Body: body})
	}
	return records
}

func TestRowsThatWereChangedCount(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(fewRows))
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]func([]byte) ([]operation.SQLStatement, bool){"postgres": func([]byte) ([]operation.SQLStatement, bool) {
		return []operation.SQLStatement{{Kind: "DELETE", Class: operation.Write}}, true
	}}
	for tag, want := range map[string]string{"DELETE 5": "allow", "DELETE 6": "deny", "INSERT 0 6": "deny", "SELECT 6": "allow"} {
		records := what(t,
			record.Header{Type: record.SessionOpened, Opened: &session.Session{ID: "s1", Resource: "shop-db", Protocol: "postgres"}},
			record.Header{Type: record.OperationIntent, Operation: 1, Intent: &record.Intent{Kind: "statement", Parsed: true, Effect: "allow"}},
			record.Header{Type: record.OperationOutcome, Operation: 1, Outcome: &record.Outcome{Status: "ok", Tag: tag}})
		asked := 0
		err := simulate.Reader{Read: read}.Each(records, func(was simulate.Past) {
			asked++
			if found, differs := simulate.By(p, was); found.Effect != want || differs != (want == "deny") {
				t.Errorf("%s: got %+v, %v", tag, found, differs)
			}
		})
		if err != nil || asked != 1 {
			t.Errorf("%s: %d operations, %v", tag, asked, err)
		}
	}
}

const bothServers = `version: 1
resources:
  - {name: shop-db, protocol: postgres, hosts: [192.0.2.1], port: 5432, credentials: [{user: app, password_file: p}]}
  - {name: shop-mysql, protocol: mysql, hosts: [192.0.2.4], port: 3306, credentials: [{user: app, password_file: p}]}
rules:
  - {name: no-blind-writes, when: 'op.sql.statements.exists(s, s.kind == "UPDATE" && !s.has_where)', effect: deny}
  - {name: nothing-unseen, when: 'op.sql.statements.exists(s, s.opaque)', effect: deny}
default: allow
`

// TestStatementsAreReadAsTheirServerReadsThem: what only one of the readers
// understands, and what each reads otherwise.
func TestStatementsAreReadAsTheirServerReadsThem(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(bothServers))
	if err != nil {
		t.Fatal(err)
	}
	reader := simulate.Reader{Read: map[string]func([]byte) ([]operation.SQLStatement, bool){
		"postgres": sqltext.New().Again, "mysql": mysqltext.New().Again,
	}}
	for _, test := range []struct{ resource, protocol, text, rule string }{
		{"shop-mysql", "mysql", "UPDATE `t` SET a = 'x\\'' WHERE b = 1", ""},
		{"shop-mysql", "mysql", "UPDATE t SET a = \"x\" # WHERE b = 1", "no-blind-writes"},
		{"shop-mysql", "mysql", "UPDATE `t` SET a = IFNULL(a, [sealed hmac-sha256:0123456789abcdef 3 bytes]) WHERE b = 1", ""},
		{"shop-db", "postgres", "UPDATE t SET a = a # 1 WHERE b = 1", ""},
		{"shop-db", "postgres", "UPDATE t SET a = 1 -- WHERE b = 1", "no-blind-writes"},
		{"shop-db", "web", "UPDATE t SET a = 1 WHERE b = 1", "no-blind-writes"}, // by the record, which does not tell
	} {
		intent := record.Intent{Kind: "statement", Parsed: true, Effect: "allow", Statements: []record.Statement{{Kind: "UPDATE", Class: "write"}}}
		records := what(t,
			record.Header{Type: record.SessionOpened, Opened: &session.Session{ID: "s1", Resource: test.resource, Protocol: test.protocol}},
			record.Header{Type: record.OperationIntent, Operation: 1, Intent: &intent})
		if records[1].Body, err = record.AppendBody(nil, &record.Body{Text: test.text}); err != nil {
			t.Fatal(err)
		}
		err := reader.Each(records, func(was simulate.Past) {
			if found, _ := simulate.By(p, was); found.Rule != test.rule {
				t.Errorf("%s: got %+v", test.text, found)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
	}
}

const noRecursion = `version: 1
resources:
  - {name: build-host, protocol: ssh, hosts: [192.0.2.2], port: 22, server_ssh: {known_hosts_file: k}, credentials: [{user: app, key_file: k}]}
rules:
  - {name: nothing-is-wiped, when: 'op.ssh.commands.exists(c, c.program == "rm" && c.args.exists(a, a == "-r"))', effect: deny}
default: allow
`

func TestArgumentsOfACommandCount(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(noRecursion))
	if err != nil {
		t.Fatal(err)
	}
	intent := record.Intent{Kind: "exec", Parsed: true, Effect: "allow", SSH: &record.SSH{Type: "exec", Programs: []string{"rm"}}}
	for line, want := range map[string]string{"rm -r /srv": "deny", "rm a": "allow"} {
		records := what(t,
			record.Header{Type: record.SessionOpened, Opened: &session.Session{ID: "s1", Resource: "build-host"}},
			record.Header{Type: record.OperationIntent, Operation: 1, Intent: &intent})
		if records[1].Body, err = record.AppendBody(nil, &record.Body{Text: line}); err != nil {
			t.Fatal(err)
		}
		err := simulate.Reader{Commands: shelltext.Read}.Each(records, func(was simulate.Past) {
			if found, _ := simulate.By(p, was); found.Effect != want {
				t.Errorf("%s: got %+v", line, found)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

const noDumps = `version: 1
resources:
  - {name: shop-kube, protocol: kubernetes, hosts: [192.0.2.3], port: 6443, credentials: [{user: app, token_file: k}]}
rules:
  - {name: no-dumps, when: '"pg_dump" in op.kube.command', effect: deny}
  - {name: no-hosts-network, when: 'op.http.body.contains("hostNetwork")', effect: deny}
  - {name: by-the-query, when: 'op.http.query == "force=true" && op.http.method == "PUT" && op.http.host == "kube.lab"', effect: deny}
  - {name: by-the-object, when: 'op.kube.group == "apps" && op.kube.name == "web" && op.kube.subresource == "scale" && op.kube.dry_run', effect: deny}
default: allow
`

func TestRequestsToAClusterAreReadBack(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(noDumps))
	if err != nil {
		t.Fatal(err)
	}
	exec := &record.Kube{Verb: "create", Version: "v1", Resource: "pods", Subresource: "exec", Namespace: "shop", Name: "db-0"}
	scale := &record.Kube{Verb: "patch", Group: "apps", Version: "v1", Resource: "deployments", Subresource: "scale", Namespace: "shop", Name: "web", DryRun: true}
	for _, test := range []struct {
		kube       *record.Kube
		method     string
		text, want string
	}{
		{exec, "GET", "GET /api/v1/namespaces/shop/pods/db-0/exec?command=sh&command=pg_dump", "no-dumps"},
		{exec, "GET", "GET /api/v1/namespaces/shop/pods/db-0/exec?command=pg%5Fdump&stdout=true", "no-dumps"},
		{exec, "GET", "GET /api/v1/namespaces/shop/pods/db-0/exec?[sealed hmac-sha256:0123456789abcdef 20 bytes]", ""},
		{&record.Kube{Verb: "create"}, "POST", "POST /api/v1/namespaces/shop/pods?a=b\nContent-Type: application/json\n\n{\n\n\"hostNetwork\":true}", "no-hosts-network"},
		{&record.Kube{Verb: "create"}, "POST", "POST /hostNetwork\nContent-Type: application/hostNetwork\n\n{}", ""},
		{&record.Kube{Verb: "update"}, "PUT", "PUT /x?force=true", "by-the-query"},
		{scale, "PATCH", "PATCH /x", "by-the-object"},
		{scale, "PATCH", "", "by-the-object"}, // the body was destroyed
	} {
		intent := record.Intent{Kind: "http", Parsed: true, Effect: "allow", Kube: test.kube, HTTP: &record.HTTP{Method: test.method, Host: "kube.lab", Path: "/x"}}
		records := what(t,
			record.Header{Type: record.SessionOpened, Opened: &session.Session{ID: "s1", Resource: "shop-kube"}},
			record.Header{Type: record.OperationIntent, Operation: 1, Intent: &intent})
		if records[1].Body, err = record.AppendBody(nil, &record.Body{Text: test.text}); err != nil {
			t.Fatal(err)
		}
		err := simulate.Reader{}.Each(records, func(was simulate.Past) {
			if found, _ := simulate.By(p, was); found.Rule != test.want {
				t.Errorf("%s: got %+v, want %q", test.text, found, test.want)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
	}
}
