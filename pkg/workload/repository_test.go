package workload_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/workload"
)

func TestRepositoryIsAVerifiedClaimOrNothing(t *testing.T) {
	token := map[string]any{"repository": "acme/shop"}
	for name, c := range map[string]struct {
		w    workload.Workload
		want string
	}{
		"GitHub":            {workload.Workload{Assurance: workload.Verified, Verified: token}, "acme/shop"},
		"GitLab":            {workload.Workload{Assurance: workload.Minted, Verified: map[string]any{"project_path": "g/p"}}, "g/p"},
		"Buildkite":         {workload.Workload{Assurance: workload.Minted, Verified: map[string]any{"organization_slug": "acme", "pipeline_slug": "shop"}}, "acme/shop"},
		"half of Buildkite": {workload.Workload{Assurance: workload.Minted, Verified: map[string]any{"pipeline_slug": "shop"}}, ""},
		"a token not bound": {workload.Workload{Assurance: workload.Orchestrated, Verified: token}, ""},
		"only a claim":      {workload.Workload{Assurance: workload.Verified, Claimed: workload.Claims{Env: map[string]string{"GITHUB_REPOSITORY": "acme/shop"}}}, ""},
	} {
		if got := c.w.Repository(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
