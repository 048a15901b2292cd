package redirect_test

import (
	"os"
	"strings"
	"testing"
)

func TestEveryCounterIsExplained(t *testing.T) {
	readme, err := os.ReadFile("../../bpf/README.md")
	must(t, err)
	l := newLab(t)
	counters, err := l.agent.Counters()
	must(t, err)
	for name := range counters {
		if name == "alerts_lost" || name == "namespaces_refused" { // the agent's own
			continue
		}
		if !strings.Contains(string(readme), "| `"+name+"` |") {
			t.Errorf("bpf/README.md does not explain %s", name)
		}
	}
	_, section, _ := strings.Cut(string(readme), "## Counters")
	for line := range strings.Lines(section) {
		row, isRow := strings.CutPrefix(line, "| `")
		name, _, _ := strings.Cut(row, "`")
		if _, ok := counters[name]; isRow && !ok {
			t.Errorf("bpf/README.md explains %s, which does not exist", name)
		}
	}
}
