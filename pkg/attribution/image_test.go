package attribution_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/workload"
)

// TestLabelsOfTheImageAreNotTheContainers has a job choose an image that is
// labelled as another repository's runner.
func TestLabelsOfTheImageAreNotTheContainers(t *testing.T) {
	e := startEngine(t)
	e.docker("import", "--change", `LABEL ci.example/repository="acme/payments" other="x"`, e.archive, "waiter:1")
	sources := attribution.Local(attribution.Config{CgroupRoot: cgroupRoot(t), DockerSocket: e.socket})
	labels := func(sources attribution.Sources, args ...string) workload.OrchFacts {
		t.Helper()
		_, origin := e.run(args...)
		w := attribution.New(sources, zaptest.NewLogger(t)).Workload(t.Context(), origin)
		if w.Assurance != workload.Orchestrated {
			t.Errorf("the container is %s", w.Assurance)
		}
		return w.Orch
	}
	for name, test := range map[string]struct {
		args []string
		want map[string]string
	}{
		"the image's alone":      {nil, map[string]string{}},
		"the runner's beside it": {[]string{"--label", "mine=1"}, map[string]string{"mine": "1"}},
		"the runner's over it":   {[]string{"--label", "ci.example/repository=acme/shop"}, map[string]string{"ci.example/repository": "acme/shop"}},
	} {
		if diff := cmp.Diff(test.want, labels(sources, test.args...).Labels); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	silent := sources
	silent.Image = func(context.Context, attribution.Engine, string) ([]byte, error) { return nil, errors.New("gone") }
	got := labels(silent, "--label", "mine=1")
	if got.Labels != nil || !cmp.Equal(got.Taints, []string{workload.TaintLabelsUntold}) {
		t.Errorf("of an image that nobody knows: labels %v, taints %v", got.Labels, got.Taints)
	}
}
