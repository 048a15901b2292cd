package workload_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/workload"
)

func TestRunIsNamedByTheTokenBeforeTheJob(t *testing.T) {
	env := map[string]string{"GITHUB_REPOSITORY": "acme/shop", "GITHUB_RUN_ID": "4711"}
	claims := map[string]any{"repository": "acme/other", "run_id": "9"}
	for name, test := range map[string]struct {
		w    workload.Workload
		want workload.Run
	}{
		"nobody":                       {workload.Workload{}, workload.Run{}},
		"the job":                      {workload.Workload{Claimed: workload.Claims{Env: env}}, workload.Run{ID: "acme/shop/4711"}},
		"the token":                    {workload.Workload{Assurance: workload.Verified, Verified: claims, Claimed: workload.Claims{Env: env}}, workload.Run{ID: "acme/other/9", Verified: true}},
		"a token that was not checked": {workload.Workload{Verified: claims}, workload.Run{}},
		"half a claim":                 {workload.Workload{Assurance: workload.Verified, Verified: map[string]any{"run_id": "9"}}, workload.Run{}},
	} {
		if got := test.w.Run(); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}
