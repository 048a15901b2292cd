package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// withResources puts the lab's policy in force with other resources, for one
// test.
func withResources(t *testing.T, change func([]map[string]any) []map[string]any) {
	t.Helper()
	file := filepath.Join(lab.dir, "agent", "policy.yaml")
	own, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Resources []map[string]any `yaml:"resources"`
		Rest      map[string]any   `yaml:",inline"`
	}
	if err := yaml.Unmarshal(own, &policy); err != nil {
		t.Fatal(err)
	}
	policy.Resources = change(policy.Resources)
	text, err := yaml.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	reload(t, file, text)
	t.Cleanup(func() { reload(t, file, own) })
}

// TestSessionsAtOneAddressAreOfSeveralResources puts a policy in force in which
// the lab's database is one resource, another one at the same server a second,
// which has a host more, and one that is asked for by a name in TLS a third.
func TestSessionsAtOneAddressAreOfSeveralResources(t *testing.T) {
	withResources(t, func(resources []map[string]any) []map[string]any {
		other, tenant := maps.Clone(resources[0]), maps.Clone(resources[0]) // shop-db
		other["name"], other["select"] = "maintenance", map[string]any{"databases": []string{"postgres"}}
		other["hosts"] = []string{"pg.lab", "ssh.lab"}
		tenant["name"], tenant["select"] = "tenant", map[string]any{"databases": []string{"template1"}, "server_names": []string{"*.pg.lab"}}
		resources[0]["select"] = map[string]any{"databases": []string{"shop"}}
		return append(resources, other, tenant)
	})

	began := time.Now()
	for _, database := range []string{"shop", "postgres"} {
		r := run("job", "--", "psql", "--no-psqlrc", "-h", "pg.lab", "-U", "app", "-Atc", "SELECT current_database()", database)
		if strings.TrimSpace(r.out) != database {
			t.Errorf("%s: %s", database, r.all())
		}
	}
	for _, test := range []struct{ server, database, more, want string }{
		{"one.pg.lab", "template1", "sslmode=verify-full", "template1"},
		{"Two.pg.lab", "template1", "sslmode=require", "template1"},
		{"pg.lab", "template1", "sslmode=verify-full", "no resource at this address"},
		{"one.pg.lab", "template1", "sslmode=disable", "no resource at this address"},
		{"one.pg.lab", "template1", "sslmode=require sslsni=0", "no resource at this address"},
		{"one.pg.lab", "shop", "sslmode=require", "no resource at this address"},
		{"one.two.pg.lab", "template1", "sslmode=require", "no resource at this address"},
		{"one.two.pg.lab", "shop", "sslmode=verify-full", "does not match host name"},
	} {
		r := run("job", "--", "sh", "-c", `psql --no-psqlrc -Atc "SELECT current_database()" "hostaddr=$(getent hosts pg.lab | cut -d" " -f1) $1"`, "psql",
			fmt.Sprintf("host=%s user=app dbname=%s sslrootcert=/run/sluice/ca.pem %s", test.server, test.database, test.more))
		if !strings.Contains(r.all(), test.want) || (r.code == 0) != (test.want == test.database) {
			t.Errorf("%+v: %s", test, r.all())
		}
	}
	eventually(t, "all sessions are at the collector, each as its resource's", func() bool {
		var all []sessionView
		if err := json.Unmarshal([]byte(ctl(t, "sessions", "--json", "--limit", "10")), &all); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]int)
		for _, s := range all {
			if s.Started.After(began) && s.Ended != nil {
				seen[s.Resource]++
			}
		}
		return len(seen) == 3 && seen["shop-db"] == 1 && seen["maintenance"] == 1 && seen["tenant"] == 2
	})
}
