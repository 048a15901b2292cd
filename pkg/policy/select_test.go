package policy_test

import (
	"fmt"
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

func TestResourcesShareAnAddressOnlyWhenSessionsTellThemApart(t *testing.T) {
	const first = "hosts: [pg.lab, 192.0.2.0/24], select: {databases: [shop, shop_test]}"
	for second, want := range map[string]string{
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24], select: {databases: [staff]}":            "",
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24], select: {databases: [shop], users: [x]}": "let no session be selected by both",
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24], select: {users: [hr]}":                   "let no session be selected by both",
		"protocol: postgres, hosts: [pg.lab, 192.0.2.0/24]":                                          "write in both what they select",
		"protocol: postgres, hosts: [pg.lab], select: {databases: [staff]}":                          "list the same hosts",
		"protocol: postgres, hosts: [192.0.2.7], select: {databases: [staff]}":                       "list the same hosts",
		"protocol: mysql, hosts: [pg.lab, 192.0.2.0/24], select: {databases: [staff]}":               "speak one protocol",
		"protocol: postgres, hosts: [other.lab], select: {}":                                         "selects nothing",
		"protocol: postgres, hosts: [other.lab], select: {databases: [\"\"]}":                        "empty name",
	} {
		_, err := policy.Parse("policy.yaml", []byte(sharing(first, second)))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", second, err, want)
		}
	}
	observed := sharing("hosts: [pg.lab]", "protocol: postgres, hosts: [other.lab], mode: observe, select: {databases: [a]}")
	if _, err := policy.Parse("policy.yaml", []byte(observed)); err == nil || !strings.Contains(err.Error(), "no use in mode observe") {
		t.Errorf("observed: %v", err)
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
		got, err := p.Choose(test.among, test.database, test.user)
		if (err == nil) != (test.want != "") || err == nil && got.Name != test.want {
			t.Errorf("%s as %s among %v: %v, %v, want %q", test.database, test.user, test.among, got, err, test.want)
		}
	}
}
