package bus_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/bus"
)

// TestOperationsNamesEveryPermission compares docs/operations.md with the
// permissions of the cluster main and its agent node1.
func TestOperationsNamesEveryPermission(t *testing.T) {
	document, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
	_, rest, found := strings.Cut(string(document), "# the collector\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("there is no block of permissions")
	}
	var want []string
	collector, err := bus.CollectorPermissions("main")
	must(t, err)
	agent, err := bus.AgentPermissions("main", "node1")
	must(t, err)
	for _, p := range []bus.Permissions{collector, agent} {
		want = slices.Concat(want, p.Publish, p.Subscribe)
	}
	var got []string
	for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(block, -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("the document says\n%q\nand the program\n%q", got, want)
	}
	if !collector.Respond || agent.Respond || !strings.Contains(block, "allow_responses: true") {
		t.Error("who may respond differs")
	}
}
