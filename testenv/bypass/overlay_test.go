package bypass

import (
	"strings"
	"testing"
)

// TestOverlayOfTheNodeIsNoWayRound gives the node the end of an overlay, and lets
// through what comes out, as flannel does. The attacker knows its numbers.
func TestOverlayOfTheNodeIsNoWayRound(t *testing.T) {
	for _, step := range []string{
		"ip link add overlay0 address 02:00:00:00:08:72 type vxlan id 5 dstport 8472 nolearning", "ip link set overlay0 up",
		"iptables -w -I FORWARD -i overlay0 -j ACCEPT",
	} {
		must(t, command(strings.Fields(step)...))
	}
	t.Cleanup(func() {
		must(t, command(strings.Fields("iptables -w -D FORWARD -i overlay0 -j ACCEPT")...))
		must(t, command("ip", "link", "delete", "overlay0"))
		must(t, lab.agent.Protect(lab.destinations())) // without it
	})
	must(t, lab.agent.Protect(lab.destinations()))
	j := lab.newJob(t, "overlay")
	for _, r := range []row{
		{name: "overlay", stops: hooks("sendmsg_refused")},
		{name: "overlay-broadcast", stops: hooks("sendmsg_refused")},
		{name: "overlay-packet-socket", stops: hooks("link_in_dropped")},
		{name: "overlay-ip-in-ip", stops: hooks("egress_dropped_no_port")},
	} {
		t.Run(r.name, func(t *testing.T) { lab.stage(t, j, "default", r) })
	}
}
