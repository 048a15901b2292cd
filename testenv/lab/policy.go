package main

import (
	_ "embed"
	"fmt"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"
)

//go:embed policy.yaml
var ownPolicy []byte

// resources are the lab's, whatever policy it was given.
func (l *lab) resources() []any {
	all := []any{
		map[string]any{
			"name": "shop-db", "protocol": "postgres", "hosts": []string{"pg.lab"}, "port": 5432,
			"credentials": []any{map[string]any{"user": "app", "password_file": l.path("secrets", "shop-db")}},
			"server_tls":  map[string]any{"mode": "verify-full", "ca_file": l.caFile()},
		},
		l.mysqlResource(),
		l.hostResource("build-host", l.buildHost()),
		l.hostResource("git-ssh", l.gitHost()),
		l.gitHTTPSResource(),
		l.webResource("web-api", 443),
		l.webResource("web-plain", 80),
	}
	if l.Kube {
		all = append(all, l.kubeResource())
	}
	return all
}

// composePolicy puts the lab's resources into a policy file, or into the
// lab's own when none is given. Everything else in the file stays as it is.
func composePolicy(file string, resources []any) ([]byte, error) {
	text := ownPolicy
	if file != "" {
		given, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text = given
	}
	policy := map[string]any{}
	if err := yaml.Unmarshal(text, &policy); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	policy["version"], policy["resources"] = 1, resources
	if file == "" {
		dropStrangers(policy, resources)
	}
	return yaml.Marshal(policy)
}

// dropStrangers takes out of the lab's own policy what is about a resource that
// this lab was started without. Each of its rules and masks is about one.
func dropStrangers(policy map[string]any, resources []any) {
	has := map[any]bool{}
	for _, resource := range resources {
		has[resource.(map[string]any)["name"]] = true
	}
	for _, key := range []string{"masks", "rules"} {
		all, _ := policy[key].([]any)
		policy[key] = slices.DeleteFunc(all, func(one any) bool {
			about, _ := one.(map[string]any)["resources"].([]any)
			return len(about) == 1 && !has[about[0]]
		})
	}
}
