package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/policy"
)

// sharing is a policy with two resources that meet at an address.
func sharing(first, second string) string {
	return fmt.Sprintf(`version: 1
resources:
  - {name: shop, protocol: postgres, port: 5432, credentials: [{user: u, password_file: p}], %s}
  - {name: staff, port: 5432, credentials: [{user: u, password_file: p}], %s}
default: deny
`, first, second)
}

// parses compares what is wrong with a policy with what should be; "": nothing.
func parses(t *testing.T, text, want string) {
	t.Helper()
	_, err := policy.Parse("policy.yaml", []byte(text))
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v, want %q", text, err, want)
	}
}

func TestResourcesShareAnAddressOnlyWhenSessionsTellThemApart(t *testing.T) {
	const first = "hosts: [pg.lab, 192.0.2.0/24], select: {databases: [shop, shop_test]}"
	const both = "let no session be selected by both"
	for second, want := range map[string]string{
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24], select: {databases: [staff]}":            "",
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24], select: {databases: [shop], users: [x]}": both,
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24], select: {users: [hr]}":                   both,
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24]":                                          "write in both what they select",
		"protocol: mysql, hosts: [pg.lab, 192.0.2.0/24], select: {databases: [staff]}":               "speak one protocol",
		// They may share some hosts alone.
		"protocol: postgres, hosts: [pg.lab, db.lab], select: {databases: [staff]}":         "",
		"protocol: postgres, hosts: [192.0.2.7], select: {databases: [staff]}":              "",
		"protocol: postgres, hosts: [192.0.0.0/16], select: {databases: [staff]}":           "",
		"protocol: postgres, hosts: [pg.lab, db.lab], select: {databases: [shop]}":          both,
		"protocol: postgres, hosts: [db.lab, 192.0.2.7], select: {databases: [shop]}":       both,
		"protocol: postgres, hosts: [192.0.0.0/16]":                                         "write in both what they select",
		"protocol: postgres, hosts: [192.0.2.7], select: {server_names: [pg.lab]}":          both,
		"protocol: postgres, hosts: [db.lab, 198.51.100.0/24], select: {databases: [shop]}": "",
		// What is written has to mean something.
		"protocol: postgres, hosts: [other.lab], select: {}":                                  "selects nothing",
		"protocol: postgres, hosts: [other.lab], select: {databases: [\"\"]}":                 "empty name",
		"protocol: postgres, hosts: [other.lab], select: {server_names: [\"\"]}":              "not a server name",
		"protocol: postgres, hosts: [other.lab], mode: observe, select: {users: [a]}":         "no use in mode observe",
		"protocol: mysql, hosts: [other.lab], mode: observe, server_tls: {mode: 'off'}":       "server_tls: has no use in mode observe",
		"protocol: ssh, hosts: [other.lab], mode: observe, server_ssh: {known_hosts_file: k}": "server_ssh: has no use in mode observe",
	} {
		parses(t, sharing(first, second), want)
	}
}

// TestObservedResourceHasNothingOfTheAgents: the job logs in, and knows the
// server, by itself, whatever is spoken.
func TestObservedResourceHasNothingOfTheAgents(t *testing.T) {
	for _, protocol := range []string{"postgres", "mysql", "ssh", "git", "kubernetes", "web"} {
		parses(t, fmt.Sprintf(`version: 1
resources:
  - {name: shop, protocol: %s, port: 5432, hosts: [pg.lab], mode: observe}
default: deny
`, protocol), "")
	}
}

func TestServerNamesTellResourcesApart(t *testing.T) {
	const first = `hosts: [192.0.2.7], select: {server_names: [shop.example.com, "*.shop.example.com"]}`
	const both = "let no session be selected by both"
	for names, want := range map[string]string{
		"staff.example.com":           "",
		"'*.example.com'":             both,
		"'*.staff.example.com'":       "",
		"'*.a.shop.example.com'":      "",
		"a.b.shop.example.com":        "",
		"a.shop.example.com":          both,
		"SHOP.Example.COM.":           both,
		"'*.Shop.example.com'":        both,
		"shop.example.com.evil.lab":   "",
		"bücher.example.com":          "as xn--",
		"xn--bcher-kva.example.com":   "",
		"192.0.2.7":                   "not a server name",
		"192.0.2.0/24":                "not a server name",
		"'2001:db8::1'":               "not a server name",
		"'*.lab'":                     "is a whole zone",
		"'*'":                         "not a server name",
		"'*.*.example.com'":           "not a server name",
		"'s*.example.com'":            "not a server name",
		"shop.*.com":                  "not a server name",
		"'shop.example.com..'":        "not a server name",
		"\"shop.example.com\\0.lab\"": "not a server name",
	} {
		parses(t, sharing(first, "protocol: postgres, hosts: [192.0.2.7], select: {server_names: ["+names+"]}"), want)
	}
	// One dimension that tells them apart is enough.
	parses(t, sharing(first+", ", "protocol: postgres, hosts: [192.0.2.7], select: {server_names: [shop.example.com], databases: [a]}"), both)
	parses(t, sharing("hosts: [192.0.2.7], select: {server_names: [db.lab], databases: [a]}",
		"protocol: postgres, hosts: [192.0.2.7], select: {server_names: [db.lab], databases: [b]}"), "")
}

// chosen compares which resource a session is of; "": none.
func chosen(t *testing.T, p *policy.Policy, among []string, by policy.Opening, want string) {
	t.Helper()
	got, err := p.Choose(among, by)
	if (err == nil) != (want != "") || err == nil && got.Name != want {
		t.Errorf("%+v among %v: %v, %v, want %q", by, among, got, err, want)
	}
}

func TestSessionIsOfTheOneResourceThatSelectsIt(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(sharing(
		"hosts: [pg.lab], select: {databases: [shop, all], users: [web, batch]}",
		"protocol: postgres, hosts: [pg.lab], select: {databases: [staff, all], users: [hr]}")))
	if err != nil {
		t.Fatal(err)
	}
	both := []string{"shop", "staff"}
	for _, test := range []struct {
		among                []string
		database, user, want string
	}{
		{both, "shop", "web", "shop"},
		{both, "all", "batch", "shop"},
		{both, "all", "hr", "staff"},
		{both, "shop", "hr", ""},
		{both, "SHOP", "web", ""},
		{both, "", "", ""},
		{[]string{"staff"}, "shop", "web", ""}, // not at this address
		{[]string{"staff", "shop"}, "shop", "web", "shop"},
		{nil, "shop", "web", ""},
	} {
		chosen(t, p, test.among, policy.Opening{Database: test.database, User: test.user}, test.want)
	}
}

// tenants share an address: two by the names of their own that clients ask TLS
// for, one by the names of its hosts, one by nothing that it is called.
const tenants = `version: 1
resources:
  - {name: shop, protocol: postgres, port: 5432, hosts: [192.0.2.7], select: {server_names: [shop.example.com, "*.eu.example.com"]}, credentials: [{user: u, password_file: p}]}
  - {name: staff, protocol: postgres, port: 5432, hosts: [192.0.2.7], select: {server_names: [staff.example.com], databases: [hr]}, credentials: [{user: u, password_file: p}]}
  - {name: old, protocol: postgres, port: 5432, hosts: [db1.lab, db2.lab], select: {databases: [old]}, credentials: [{user: u, password_file: p}]}
  - {name: older, protocol: postgres, port: 5432, hosts: [db2.lab, db3.lab], select: {databases: [older]}, credentials: [{user: u, password_file: p}]}
default: deny
`

func TestServerNameNarrowsTheChoiceAndNeverWidensIt(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(tenants))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"shop", "staff", "old", "older"}
	for _, test := range []struct{ name, database, want string }{
		{"shop.example.com", "anything", "shop"},
		{"SHOP.example.COM", "hr", "shop"},
		{"pg.eu.example.com", "x", "shop"},
		{"staff.example.com", "hr", "staff"},
		{"staff.example.com", "x", ""},
		{"staff.example.com", "old", ""}, // a name of one, a database of another
		{"shop.example.com", "old", "shop"},
		{"db1.lab", "old", "old"},
		{"db1.lab", "older", ""},
		{"db2.lab", "older", "older"},
		{"db2.lab", "old", "old"},
		{"db3.lab", "old", ""},
		{"elsewhere.lab", "old", "old"}, // nobody's name: as if there were none
		{"elsewhere.lab", "hr", ""},
		{"", "old", "old"},
		{"", "hr", ""},
		{"", "anything", ""},
		// What looks like a name.
		{"a.b.eu.example.com", "x", ""},
		{"eu.example.com", "x", ""},
		{".eu.example.com", "x", ""},
		{"*.eu.example.com", "x", ""},
		{"a b.eu.example.com", "x", ""},
		{"a\x00.eu.example.com", "x", ""},
		{"shop.example.com\x00", "x", ""},
		{"shop.example.com.", "x", ""},
		{"\u212a.eu.example.com", "x", ""}, // the sign for kelvin, which folds to k
		{strings.Repeat("a.", 120) + "eu.example.com", "x", ""},
		{"192.0.2.7", "x", ""},
		{"2001:db8::1", "x", ""},
	} {
		chosen(t, p, all, policy.Opening{ServerName: test.name, Database: test.database}, test.want)
	}
	chosen(t, p, []string{"old", "older"}, policy.Opening{ServerName: "shop.example.com", Database: "hr"}, "")
}

// TestCertificateIsForEveryResourceThatMayBeChosen compares what is shown before
// database and user are known.
func TestCertificateIsForEveryResourceThatMayBeChosen(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(tenants))
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{
		"shop.example.com":  "shop.example.com",
		"PG.eu.example.com": "shop.example.com pg.eu.example.com",
		"db1.lab":           "db1.lab db2.lab",
		"db2.lab":           "db2.lab",
		"elsewhere.lab":     "db2.lab",
		"":                  "db2.lab",
	} {
		under := p.Under([]string{"shop", "staff", "old", "older"}, asked)
		names := policy.CertificateNames(under, asked)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q is shown %q, want %q", asked, got, want)
		}
		for _, r := range under {
			for _, database := range []string{"hr", "old", "older", "x"} {
				chosen, err := p.Choose([]string{"shop", "staff", "old", "older"}, policy.Opening{ServerName: asked, Database: database})
				if err == nil && !slices.Contains(under, chosen) {
					t.Errorf("%q, %s: %s is chosen, of which nothing was shown but %s", asked, database, chosen.Name, r.Name)
				}
			}
		}
	}
	if p.Under([]string{"shop", "staff"}, "") != nil {
		t.Error("who names nothing is shown something")
	}
}
