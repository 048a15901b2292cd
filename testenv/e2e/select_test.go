package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// TestDatabasesAtOneAddressAreSeveralResources puts a policy in force in which
// the lab's database is one resource and another one at the same server a second.
func TestDatabasesAtOneAddressAreSeveralResources(t *testing.T) {
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
	other := make(map[string]any)
	for key, value := range policy.Resources[0] { // shop-db
		other[key] = value
	}
	other["name"], other["select"] = "maintenance", map[string]any{"databases": []string{"postgres"}}
	policy.Resources[0]["select"] = map[string]any{"databases": []string{"shop"}}
	policy.Resources = append(policy.Resources, other)
	text, err := yaml.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	reload(t, file, text)
	defer reload(t, file, own)

	began := time.Now()
	for _, database := range []string{"shop", "postgres"} {
		r := run("job", "--", "psql", "--no-psqlrc", "-h", "pg.lab", "-U", "app", "-Atc", "SELECT current_database()", database)
		if strings.TrimSpace(r.out) != database {
			t.Errorf("%s: %s", database, r.all())
		}
	}
	r := run("job", "--", "psql", "--no-psqlrc", "-h", "pg.lab", "-U", "app", "-Atc", "SELECT 1", "template1")
	if r.code == 0 || !strings.Contains(r.all(), "no resource at this address") {
		t.Errorf("a database that no resource selects: %s", r.all())
	}
	eventually(t, "both sessions are at the collector, each as its resource's", func() bool {
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
		return len(seen) == 2 && seen["shop-db"] == 1 && seen["maintenance"] == 1
	})
}
