package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
)

// named is one resource that its name makes, at an address it was resolved to.
func named(t *testing.T, addr string, at time.Time) *destinations {
	t.Helper()
	d := newDestinations([]policy.Resource{{Name: "db", Hosts: []policy.Host{{Name: "db.example.com"}}, Port: 5432}})
	d.resolver = away()
	resolveTo(t, d, addr, at)
	return d
}

// resolveTo does what a look-up of the resource's name does.
func resolveTo(t *testing.T, d *destinations, text string, at time.Time) {
	t.Helper()
	addr := netip.MustParseAddr(text)
	if err := d.see(netip.PrefixFrom(addr, addr.BitLen()), &d.resources[0], at); err != nil {
		t.Fatal(err)
	}
	d.bind(addr, &d.resources[0])
}

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
func check(t *testing.T, d *destinations, when string, want map[string]string) {
	t.Helper()
	_, routes := d.protected()
	got := make(map[string]string)
	for at := range want {
		dst := netip.MustParseAddrPort(at)
		found, known := routes.lookup(dst)
		switch {
		case !known:
			got[at] = "free"
		case found.resource == nil:
			got[at] = "refused"
		default:
			got[at] = found.resource.Name + " at " + found.to(dst).String()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s, -want +got:\n%s", when, diff)
	}
}

func TestPublishedPortIsTheResourceBehindIt(t *testing.T) {
	d := newDestinations([]policy.Resource{
		{Name: "net", Hosts: []policy.Host{prefix("203.0.113.0/24")}, Port: 5432},
		{Name: "own", Hosts: []policy.Host{prefix("198.51.100.2/32")}, Port: 15432},
	})
	now := time.Now()
	if err := d.refresh(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	d.follow(running("one", "203.0.113.5",
		[2]string{"198.51.100.1:15432", "203.0.113.5:5432"},
		[2]string{"198.51.100.1:15432", "[2001:db8::5]:5432"},
		[2]string{"198.51.100.1:18080", "203.0.113.5:8080"},
		[2]string{"198.51.100.2:15432", "203.0.113.5:5432"},
		[2]string{"198.51.100.3:15432", "192.0.2.5:5432"},
		[2]string{"[2001:db8::1]:15432", "[2001:db8::5]:5432"},
		[2]string{"[2001:db8::1]:15432", "203.0.113.5:5432"},
	), now)
	check(t, d, "published", map[string]string{
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
	d := newDestinations([]policy.Resource{{Name: "net", Hosts: []policy.Host{prefix("203.0.113.0/25")}, Port: 5432}})
	if err := d.refresh(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	const node, moved = "198.51.100.1:15432", "198.51.100.1:15433"
	one := running("one", "203.0.113.5", [2]string{node, "203.0.113.5:5432"})
	d.follow(one, now)
	d.follow(attribution.Containers{}, now.Add(time.Second))
	check(t, d, "the container is gone", map[string]string{node: "refused"})
	d.follow(running("one", "203.0.113.6", [2]string{node, "203.0.113.6:5432"}), now.Add(2*time.Second))
	check(t, d, "it is back elsewhere", map[string]string{node: "net at 203.0.113.6:5432"})
	d.follow(running("one", "203.0.113.6", [2]string{moved, "203.0.113.6:5432"}), now.Add(3*time.Second))
	check(t, d, "it has another port", map[string]string{node: "refused", moved: "net at 203.0.113.6:5432"})
	d.follow(running("two", "203.0.113.200", [2]string{node, "203.0.113.200:5432"}), now.Add(4*time.Second))
	check(t, d, "the port is another container's", map[string]string{node: "free", moved: "refused"})
	d.follow(attribution.Containers{}, now.Add(5*time.Second+keepWithdrawn))
	check(t, d, "after a while", map[string]string{node: "free", moved: "free"})
}

func TestNextContainerAtAnAddressIsNotTheResource(t *testing.T) {
	const addr = "203.0.113.5"
	const db, node = addr + ":5432", "198.51.100.1:15432"
	now := time.Now()
	d := named(t, addr, now)
	published := [2]string{node, db}
	d.follow(running("one", addr, published), now)
	resolveTo(t, d, addr, now)
	check(t, d, "the name's container", map[string]string{db: "db at " + db, node: "db at " + db})

	if !d.follow(running("two", addr, published), now.Add(time.Second)) {
		t.Error("nobody is told to resolve the name again")
	}
	check(t, d, "another container's", map[string]string{db: "refused", node: "refused"})
	for after := time.Second; after < 2*keepWithdrawn; after += resolveEvery {
		if d.refresh(t.Context(), now.Add(after)) == nil {
			t.Fatal("the resolver is not away")
		}
	}
	check(t, d, "while nobody can tell whose it is", map[string]string{db: "refused"})

	resolveTo(t, d, addr, now.Add(2*keepWithdrawn))
	check(t, d, "the name says it is", map[string]string{db: "db at " + db, node: "db at " + db})
	d.follow(attribution.Containers{}, now.Add(2*keepWithdrawn+time.Second))
	d.resources[0].Hosts = nil // the name has other addresses now
	if err := d.refresh(t.Context(), now.Add(4*keepWithdrawn)); err != nil {
		t.Fatal(err)
	}
	check(t, d, "the name is elsewhere", map[string]string{db: "free", node: "refused"})
}
