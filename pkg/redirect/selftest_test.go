package redirect_test

import (
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sluicegate/sluice/pkg/redirect"
)

func (l *lab) isHealthy() bool { return l.agent.Healthy() == nil }

func TestDetachedHookIsNoticed(t *testing.T) {
	for _, name := range []string{"redirect_connect4", "redirect_connect6", "redirect_sockops", "redirect_egress"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			eventually(t, "the agent is healthy", l.isHealthy)
			attached, err := link.LoadPinnedLink(filepath.Join(l.pins, "links", name), nil)
			must(t, err)
			must(t, attached.Detach())
			must(t, attached.Close())
			eventually(t, "the agent knows", func() bool { return !l.isHealthy() })
			l.wantAlert(t, redirect.AlertSelfTest)
		})
	}
}

// Everything is attached, and yet nothing is redirected.
func TestProbeThatIsNotRedirectedIsNoticed(t *testing.T) {
	l := newLab(t)
	eventually(t, "the agent is healthy", l.isHealthy)
	ports, err := ebpf.LoadPinnedMap(filepath.Join(l.pins, "maps", "protected_ports"), nil)
	must(t, err)
	must(t, ports.Put(uint32(0), make([]byte, ports.ValueSize())))
	must(t, ports.Close())
	eventually(t, "the agent knows", func() bool { return !l.isHealthy() })
}

func TestAgentThatDoesNotRunIsNotHealthy(t *testing.T) {
	l := newNetwork(t)
	l.openWith(t, func(*redirect.Config) {})
	if l.isHealthy() {
		t.Error("Healthy = nil before anything was tested")
	}
}
