package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/session"
)

// webPolicy has a web API, beside others, and one mask.
func webPolicy(others, mask string) ([]byte, string) {
	text := "version: 1\nresources:\n" +
		"  - {name: api, protocol: web, hosts: [192.0.2.1], port: 443, credentials: [{user: u, token_file: t, header: X-Api-Key}]}\n" + others
	if mask != "" {
		text += "masks:\n  - {name: pii, method: redact, " + mask + "}\n"
	}
	return []byte(text + "default: allow\n"), text
}

const database = "  - {name: db, protocol: postgres, hosts: [192.0.2.2], port: 5432, credentials: [{user: u, password_file: p}]}\n"

func TestPathsOfTheWebBeginAtTheDocument(t *testing.T) {
	for _, test := range []struct{ others, mask, keys, problem string }{
		{"", "json_paths: [email]", "email", ""},
		{"", "json_paths: [data.customers.Email]", "data customers Email", ""},
		{"", `json_paths: ['data."a.b c".x']`, "data/a.b c/x", ""},
		{"", `json_paths: ['"$".x']`, "$ x", ""},
		{"", "json_paths: ['$.customers.email']", "", "without $"},
		{"", "json_paths: ['customers[].email']", "", "without $"},
		{"", "json_paths: ['customers[*].email']", "", "is not a path"},
		{"", "json_paths: ['*.email']", "", "is not a path"},
		{"", "json_paths: ['a..b']", "", "is not a path"},
		{"", "json_paths: [a.b, a.b]", "", "already masked"},
		{"", "columns: [a.b.c]", "", "no resource has columns"},
		{"", "resources: [api], columns: [a.b.c]", "", `"api" has no columns`},
		{"", "resources: [api], kinds: [Secret]", "", `"api" has no kinds`},
		{"", "resources: [api], json_paths: [a.b], detect: [jwt]", "a b", ""},
		{database, "json_paths: [a.b.c.d]", "", ""}, // the database's
		{database, "json_paths: [a.b]", "", "schema, table, column"},
		{database, "resources: [api, db], json_paths: [a.b.c.d]", "", "a mask for each"},
		{database, "resources: [api], json_paths: [a.b]", "a b", ""},
		{database, "columns: [a.b.c]", "", ""},
		{database, "resources: [db], json_paths: [a.b]", "", "schema, table, column"},
	} {
		data, _ := webPolicy(test.others, test.mask)
		rules, err := policy.Parse("p.yaml", data)
		if test.problem != "" {
			if err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("%s: %v", test.mask, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.mask, err)
			continue
		}
		paths := rules.Masks("api").Paths
		if test.keys == "" {
			if len(paths) != 0 {
				t.Errorf("%s: %+v", test.mask, paths)
			}
			continue
		}
		if len(paths) != 1 || !slices.Equal(paths[0].Keys, strings.FieldsFunc(test.keys, func(r rune) bool {
			return r == '/' || r == ' ' && !strings.Contains(test.keys, "/")
		})) {
			t.Errorf("%s: %+v", test.mask, paths)
		}
	}
}

func TestCredentialStandsInAFieldThatCanHoldIt(t *testing.T) {
	for login, problem := range map[string]string{
		"token_file: t, header: X-Api-Key":      "",
		"token_file: t, header: PRIVATE-TOKEN":  "",
		"token_file: t, header: apikey":         "",
		"token_file: t, header: Authorization":  "",
		"header: X-Api-Key":                     "password_file",
		"password_file: p, header: X-Api-Key":   "write token_file",
		"token_file: t, header: 'X-Api-Key: a'": "not a field",
		"token_file: t, header: X_Api_Key":      "not a field",
		"token_file: t, header: Host":           "not a field",
		"token_file: t, header: te":             "not a field",
		"token_file: t, header: Cookie":         "not a field",
		"token_file: t, header: Content-Length": "not a field",
		"token_file: t, header: if-match":       "not a field",
		"token_file: t, header: X-Forwarded-By": "not a field",
	} {
		text := "version: 1\nresources:\n  - {name: a, protocol: web, hosts: [192.0.2.1], port: 443, credentials: [{user: u, " + login + "}]}\ndefault: deny\n"
		rules, err := policy.Parse("p.yaml", []byte(text))
		if problem != "" {
			if err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("%s: %v", login, err)
			}
			continue
		}
		if err != nil || rules.Credentials("a")[0].Header == "" {
			t.Errorf("%s: %v", login, err)
		}
	}
}

// TestDetectorsDoNotNeedToUnderstandARequest while paths, and rules that read
// it, refuse what nobody understood.
func TestDetectorsDoNotNeedToUnderstandARequest(t *testing.T) {
	for mask, want := range map[string]policy.Effect{
		"":                    policy.Allow,
		"detect: [jwt]":       policy.Allow,
		"json_paths: [email]": policy.Deny,
	} {
		data, _ := webPolicy("", mask)
		rules, err := policy.Parse("p.yaml", data)
		if err != nil {
			t.Fatal(err)
		}
		op := &operation.Operation{Kind: operation.Request, HTTP: &operation.HTTP{Method: "GET", Path: "/a//b"}}
		if got := rules.Evaluate(&session.Session{Resource: "api"}, op); got.Effect != want {
			t.Errorf("%s: %s", mask, fmt.Sprint(got))
		}
	}
}

// TestWhatABodyWouldDecideIsDeniedOfOneThatStreams and nothing else is.
func TestWhatABodyWouldDecideIsDeniedOfOneThatStreams(t *testing.T) {
	const allow, deny, hold = "effect: allow", "effect: deny", "effect: hold, approve: {groups: [g], timeout: 1m}"
	put := operation.HTTP{Method: "PUT", Host: "a", Path: "/files/1", Streamed: true}
	form := operation.HTTP{Method: "POST", Host: "a", Path: "/files/1", Streamed: true, Form: true}
	for _, test := range []struct {
		op         operation.HTTP
		when, rest string
		want       policy.Effect
		large      bool
	}{
		{put, `op.http.body.contains("x")`, deny, policy.Deny, true},
		{put, `op.http.body.contains("x")`, hold, policy.Deny, true},
		{put, `op.http.body == ""`, allow, policy.Deny, true},
		{put, `!op.http.body.contains("x")`, allow, policy.Deny, true},
		{put, `op.http.path == "/files/1" && op.http.body.contains("x")`, deny, policy.Deny, true},
		{put, `op.http.body.contains("x") || op.http.path == "/deployments"`, deny, policy.Deny, true},
		{put, `op.http.path == "/deployments" && op.http.body.contains("x")`, deny, policy.Allow, false},
		{put, `op.http.body.contains("x") && op.http.path == "/deployments"`, hold, policy.Allow, false},
		{put, `op.http.path == "/files/1" || op.http.body.contains("x")`, hold, policy.Hold, false},
		{put, `has(op.http.body)`, deny, policy.Deny, false},
		{put, `!op.parsed`, deny, policy.Deny, true},
		{put, `op.parsed`, allow, policy.Deny, true},
		{put, `op.read_only`, deny, policy.Allow, false},
		{put, `op.http.method == "PUT"`, hold, policy.Hold, false},
		{put, `op.http.method == "DELETE"`, deny, policy.Allow, false},
		{form, `op.http.method == "DELETE"`, deny, policy.Deny, true},
		{form, `op.http.method == "POST"`, allow, policy.Deny, true},
		{form, `op.http.method == "DELETE" && op.http.path.startsWith("/releases/")`, deny, policy.Allow, false},
		{form, `has(op.http.method) && op.http.path == "/files/1"`, hold, policy.Hold, false},
	} {
		data, _ := webPolicy("", "")
		text := strings.Replace(string(data), "default: allow\n", "rules:\n  - {name: r, when: '"+test.when+"', "+test.rest+"}\ndefault: allow\n", 1)
		rules, err := policy.Parse("p.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		op := &operation.Operation{Kind: operation.Request, Parsed: true, HTTP: &test.op}
		got := rules.Evaluate(&session.Session{Resource: "api"}, op)
		if got.Effect != test.want || got.TooLarge != test.large || test.large != strings.Contains(got.Reason, "too large to be held") {
			t.Errorf("%s, %s: %+v", test.when, test.rest, got)
		}
	}
}
