package bypass

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// publishedPort is where the node offers the port of a protected container. It
// is no agent's of this machine (netlab.Slice.Port), which nobody else may bind.
const publishedPort = 14432

// TestPublishedPortOfAProtectedContainerIsNoWayRound protects the container's
// own address, which catches Docker's proxy when it connects, and then what the
// Engine says it publishes too, which also tells who the job is.
func TestPublishedPortOfAProtectedContainerIsNoWayRound(t *testing.T) {
	node := lab.slice.Host4(1)
	name := fmt.Sprintf("service-%d", time.Now().UnixNano())
	must(t, command(lab.engine.run([]string{
		"--detach", "--name", name, "--publish", fmt.Sprintf("%d:%d", publishedPort, sealedPort),
	}, "/attack/attacker", "canary", strconv.Itoa(sealedPort))...))
	t.Cleanup(func() { must(t, command(lab.engine.command("rm", "--force", name)...)) })
	address, err := output(t.Context(), lab.engine.command("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)...)
	must(t, err)
	service := netip.MustParseAddr(strings.TrimSpace(address))

	network := name + "-network"
	must(t, command(lab.engine.command("network", "create", "--subnet", "198.18.2.0/24", network)...))
	t.Cleanup(func() {
		must(t, command(append([]string{"timeout", "60"}, lab.engine.command("network", "rm", network)...)...))
	})
	t.Run("jobs", func(t *testing.T) {
		places := map[string]*job{
			"default network": lab.newJob(t, "near"),
			"other network":   lab.newJob(t, "far", "--network", network),
			"host network":    lab.newJob(t, "host", "--network", "host"),
		}
		direct, published := lab.target(), lab.target()
		direct.Server4 = service
		published.Server4, published.Port = node, publishedPort
		for name, j := range places {
			if s := j.try(t, "tcp", published); !s.Gained {
				t.Errorf("%s: the published port does not work without protection: %q", name, s.Saw)
			}
		}
		named := append(lab.destinations(), redirect.Destination{Prefix: netip.PrefixFrom(service, 32), Port: sealedPort})
		defer func() { must(t, lab.agent.Protect(lab.destinations())) }()
		must(t, lab.agent.Protect(named))
		before := lab.look(t)
		o := lab.outcome(t, before, places["other network"].try(t, "tcp", published))
		o.judge(t, lab, "other network", row{name: "published port that is not named", stops: hooks(redirected)})

		must(t, lab.agent.Protect(append(named, offers(t, lab.agent.registry, service)...)))
		bridged := published
		bridged.Server4 = lab.engine.gateway4
		ways := map[string]target{"container's address": direct, "published port": published, "published port on the bridge": bridged}
		for name, j := range places {
			for way, to := range ways {
				before := lab.look(t)
				var s seen
				who := lab.agent.workload(func() { s = j.try(t, "tcp", to) })
				o := lab.outcome(t, before, s)
				o.judge(t, lab, name, row{name: way, stops: hooks(redirected)})
				if who.Orch.Name != j.name {
					t.Errorf("%s, %s: the connection is %q's (%s), not the job's", name, way, who.Orch.Name, who.Kernel.Exe)
				}
			}
		}
	})
}

// offers are the destinations that lead to a container, as its engine says.
func offers(t *testing.T, registry *attribution.Registry, container netip.Addr) []redirect.Destination {
	t.Helper()
	all, err := registry.Containers(t.Context())
	must(t, err)
	var offers []redirect.Destination
	for _, p := range all.Published {
		if p.Container == netip.AddrPortFrom(container, sealedPort) {
			offers = append(offers, redirect.Destination{Prefix: netip.PrefixFrom(p.Node.Addr(), p.Node.Addr().BitLen()), Port: p.Node.Port()})
		}
	}
	return offers
}
