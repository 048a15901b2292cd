package workload_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/workload"
)

func TestChainSaysWhatIsMissing(t *testing.T) {
	three := []string{"/bin/sh", "/bin/claude", "/bin/psql"}
	for want, facts := range map[string]workload.KernelFacts{
		"unknown":                           {},
		"/bin/sh → /bin/claude → /bin/psql": {Lineage: three, LineageWhole: true},
		"… → /bin/sh → /bin/claude → /bin/psql":        {Lineage: three},
		"/bin/sh → /bin/claude → (7 more) → /bin/psql": {Lineage: three, LineageLeftOut: 7, LineageWhole: true},
	} {
		if got := facts.Chain(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
