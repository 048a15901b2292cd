package destination

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
)

// running says that a container has an address and offers ports, as "node>container".
func running(id, addr string, published ...[2]string) attribution.Containers {
	all := attribution.Containers{Owners: map[netip.Addr]string{netip.MustParseAddr(addr): id}}
	for _, p := range published {
		all.Published = append(all.Published, attribution.Published{
			Node: netip.MustParseAddrPort(p[0]), Container: netip.MustParseAddrPort(p[1]),
		})
	}
	return all
}

// check compares where destinations lead: to a server as a resource's, nowhere
// ("refused"), or that they are free.
func check(t *testing.T, n *names, when string, want map[string]string) {
	t.Helper()
	routes := n.table()
	got := make(map[string]string)
	for at := range want {
		dst := netip.MustParseAddrPort(at)
		found, known := routes.Lookup(dst)
		switch {
		case !known:
			got[at] = "free"
		case len(found.Resources) == 0:
			got[at] = "refused"
		default:
			got[at] = strings.Join(found.Resources, "+") + " at " + found.To(dst).String()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s, -want +got:\n%s", when, diff)
	}
}

func TestPublishedPortIsTheResourceBehindIt(t *testing.T) {
	n := newNames([]policy.Resource{
		{Name: "net", Hosts: []policy.Host{prefix("203.0.113.0/24")}, Port: 5432},
		{Name: "own", Hosts: []policy.Host{prefix("198.51.100.2/32")}, Port: 15432},
	})
	now := time.Now()
	n.follow(running("one", "203.0.113.5",
		[2]string{"198.51.100.1:15432", "203.0.113.5:5432"},
		[2]string{"198.51.100.1:15432", "[2001:db8::5]:5432"},
		[2]string{"198.51.100.1:18080", "203.0.113.5:8080"},
		[2]string{"198.51.100.2:15432", "203.0.113.5:5432"},
		[2]string{"198.51.100.3:15432", "192.0.2.5:5432"},
		[2]string{"[2001:db8::1]:15432", "[2001:db8::5]:5432"},
		[2]string{"[2001:db8::1]:15432", "203.0.113.5:5432"},
	), now)
	check(t, n, "published", map[string]string{
		"203.0.113.5:5432":     "net at 203.0.113.5:5432",
		"198.51.100.1:15432":   "net at 203.0.113.5:5432",
		"198.51.100.1:18080":   "free", // another port of the container's
		"198.51.100.2:15432":   "own at 198.51.100.2:15432",
		"198.51.100.3:15432":   "free", // another container's
		"[2001:db8::1]:15432":  "net at 203.0.113.5:5432",
		"[2001:db8::1]:5432":   "free",
		"198.51.100.1:5432":    "free",
		"[2001:db8::5]:5432":   "free",
		"198.51.100.200:15432": "free",
	})
}

func TestPublishedPortIsWithdrawnWithItsContainer(t *testing.T) {
	now := time.Now()
	n := newNames([]policy.Resource{{Name: "net", Hosts: []policy.Host{prefix("203.0.113.0/25")}, Port: 5432}})
	const node, moved = "198.51.100.1:15432", "198.51.100.1:15433"
	one := running("one", "203.0.113.5", [2]string{node, "203.0.113.5:5432"})
	n.follow(one, now)
	n.follow(attribution.Containers{}, now.Add(time.Second))
	check(t, n, "the container is gone", map[string]string{node: "refused"})
	n.follow(running("one", "203.0.113.6", [2]string{node, "203.0.113.6:5432"}), now.Add(2*time.Second))
	check(t, n, "it is back elsewhere", map[string]string{node: "net at 203.0.113.6:5432"})
	n.follow(running("one", "203.0.113.6", [2]string{moved, "203.0.113.6:5432"}), now.Add(3*time.Second))
	check(t, n, "it has another port", map[string]string{node: "refused", moved: "net at 203.0.113.6:5432"})
	n.follow(running("two", "203.0.113.200", [2]string{node, "203.0.113.200:5432"}), now.Add(4*time.Second))
	check(t, n, "the port is another container's", map[string]string{node: "free", moved: "refused"})
	n.follow(attribution.Containers{}, now.Add(5*time.Second+keepWithdrawn))
	check(t, n, "after a while", map[string]string{node: "free", moved: "free"})
}

func TestNextContainerAtAnAddressIsNotTheResource(t *testing.T) {
	const addr = "203.0.113.5"
	const db, node = addr + ":5432", "198.51.100.1:15432"
	now := time.Now()
	n := newNames(one())
	published := [2]string{node, db}
	n.follow(running("one", addr, published), now)
	answered(t, n, 0, now, 0, addr)
	check(t, n, "the name's container", map[string]string{db: "db at " + db, node: "db at " + db})

	early := is(n, 0, now, 0, addr)
	n.follow(running("two", addr, published), now.Add(time.Second))
	if len(n.due(now.Add(time.Second))) != 1 {
		t.Error("the name is not asked for again")
	}
	check(t, n, "another container's", map[string]string{db: "refused", node: "refused"})
	if err := n.take([]answer{early}, now.Add(2*time.Second)); err != nil || len(n.due(now.Add(2*time.Second))) != 1 {
		t.Errorf("an answer from before counts as one from after: %v", err)
	}
	check(t, n, "after an answer from before", map[string]string{db: "refused", node: "refused"})
	for after := 2 * time.Second; after < 2*keepWithdrawn; after += resolveLatest {
		unanswered(t, n, now.Add(after))
	}
	check(t, n, "while nobody can tell whose it is", map[string]string{db: "refused"})

	answered(t, n, 0, now.Add(2*keepWithdrawn), 0, addr)
	check(t, n, "the name says it is", map[string]string{db: "db at " + db, node: "db at " + db})
	n.follow(attribution.Containers{}, now.Add(2*keepWithdrawn+time.Second))
	answered(t, n, 0, now.Add(4*keepWithdrawn), 0, "203.0.113.6")
	check(t, n, "the name is elsewhere", map[string]string{db: "free", node: "refused"})
}
