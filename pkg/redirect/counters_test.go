package redirect_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/pkg/redirect"
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

// moved are the counters that some test of this run has moved.
var moved counted

type counted struct {
	mu    sync.Mutex
	names map[string]bool // guarded by mu
}

func (c *counted) addOf(agent *redirect.Redirect) {
	counters, err := agent.Counters()
	if err != nil {
		return // it is closed, and was asked before
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = make(map[string]bool)
	}
	for name, n := range counters {
		c.names[name] = c.names[name] || n > 0
	}
}

// unmoved are the counters that no test moves, and why.
var unmoved = map[string]string{
	"alert_lost":                  "the ring buffer holds more alerts than the rate lets through in a test",
	"alerts_lost":                 "as above, with the channel",
	"egress_dropped_unreadable":   "no socket of this kernel sends less than an IP header",
	"hold_short":                  "the kernel refuses TCP_SYNCNT",
	"lineage_no_room":             "the kernel has no memory for a task's lineage",
	"link_out_exempt":             "an exempt socket is let through by the same storage as at the egress hook",
	"link_out_forwarded":          "packets keep their socket on their way through a bridge, where netfilter does not see it (br_netfilter)",
	"link_out_dropped_unreadable": "another agent on this machine may drop such a frame first",
}

// runAll runs the tests. When all of them ran, each counter must have moved: a
// branch that no test can reach is one that nobody knows to work.
func runAll(m *testing.M) int {
	code := m.Run()
	if code != 0 || flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		return code
	}
	moved.mu.Lock()
	defer moved.mu.Unlock()
	for name, did := range moved.names {
		if _, known := unmoved[name]; !did && !known {
			fmt.Fprintf(os.Stderr, "no test moves the counter %s\n", name)
			code = 1
		}
	}
	return code
}
