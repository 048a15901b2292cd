package attribution

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/workload"
)

// place is a product's in workload.Products.
func place(name string) int {
	return slices.IndexFunc(workload.Products, func(p workload.Product) bool { return p.Name == name })
}

// lineage is one of these programs, in which those with a product's name are that
// product, and in which left were executed before.
func lineage(paths map[string]string, order []string, left ...string) *workload.Lineage {
	l := &workload.Lineage{Latest: -1, Whole: true}
	for _, name := range left {
		l.Latest = place(name)
		l.Agents |= 1 << l.Latest
	}
	for _, path := range order {
		agent := -1
		if product := paths[path]; product != "" {
			agent = place(product)
			l.Latest = agent
			l.Agents |= 1 << agent
		}
		l.Programs = append(l.Programs, workload.Executed{Path: path, Agent: agent})
	}
	return l
}

func TestWhatWasExecutedOutweighsWhatIsClaimed(t *testing.T) {
	products := map[string]string{"/bin/claude": "claude-code", "/bin/codex": "codex", "/bin/goose": "goose"}
	ci := map[string]string{"CI": "true"}
	tests := []struct {
		name    string
		lineage *workload.Lineage
		env     map[string]string
		want    workload.Agent
	}{
		{"unknown lineage", nil, ci, workload.Agent{Kind: workload.AgentPipeline, Evidence: []string{"claimed.env CI"}}},
		{
			"no agent", lineage(products, []string{"/bin/sh", "/bin/psql"}), ci,
			workload.Agent{Kind: workload.AgentPipeline, Evidence: []string{"claimed.env CI"}},
		},
		{
			"an agent without a marker", lineage(products, []string{"/bin/sh", "/bin/claude", "/bin/psql"}), ci,
			workload.Agent{Kind: workload.AgentAI, Product: "claude-code", Evidence: []string{"kernel.exec /bin/claude"}},
		},
		{
			"another's marker",
			lineage(products, []string{"/bin/claude"}),
			map[string]string{"CODEX_SANDBOX": "1"},
			workload.Agent{Kind: workload.AgentAI, Product: "claude-code", Evidence: []string{"kernel.exec /bin/claude", "claimed.env CODEX_SANDBOX"}},
		},
		{
			"one inside of another", lineage(products, []string{"/bin/codex", "/bin/claude", "/bin/psql"}), nil,
			workload.Agent{Kind: workload.AgentAI, Product: "claude-code", Evidence: []string{"kernel.exec /bin/claude", "kernel.exec /bin/codex"}},
		},
		{
			"one that has left the chain", lineage(products, []string{"/bin/sh"}, "codex"), ci,
			workload.Agent{Kind: workload.AgentAI, Product: "codex", Evidence: []string{"kernel.exec codex"}},
		},
		{
			"a name that others have too", lineage(products, []string{"/bin/goose"}), ci,
			workload.Agent{Kind: workload.AgentUnknown, Product: "goose", Evidence: []string{"kernel.exec /bin/goose"}},
		},
		{
			"that and a marker",
			lineage(products, []string{"/bin/goose"}),
			map[string]string{"AGENT": "goose"},
			workload.Agent{Kind: workload.AgentAI, Product: "goose", Evidence: []string{"kernel.exec /bin/goose", "claimed.env AGENT"}},
		},
		{
			"that and an agent", lineage(products, []string{"/bin/claude", "/bin/goose"}), nil,
			workload.Agent{Kind: workload.AgentAI, Product: "claude-code", Evidence: []string{"kernel.exec /bin/claude", "kernel.exec /bin/goose"}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := classify(workload.Workload{Claimed: workload.Claims{Env: test.env}}, test.lineage)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("classify (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLineageIsShownPrintable(t *testing.T) {
	var facts workload.KernelFacts
	addLineage(&facts, nil)
	if facts.Lineage != nil || facts.LineageWhole {
		t.Errorf("an unknown lineage is shown as %+v", facts)
	}
	addLineage(&facts, &workload.Lineage{Programs: []workload.Executed{{Path: "/tmp/\x1b[2J\xff\n", Agent: -1}}, LeftOut: 3, Whole: true})
	want := workload.KernelFacts{Lineage: []string{"/tmp/\ufffd[2J\ufffd\ufffd"}, LineageLeftOut: 3, LineageWhole: true}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Errorf("addLineage (-want +got):\n%s", diff)
	}
}
