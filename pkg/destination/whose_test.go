package destination

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
)

// databases selects the sessions for these.
func databases(names ...string) policy.Select { return policy.Select{Databases: names} }

// at is a resource of PostgreSQL's port.
func at(name string, selects policy.Select, hosts ...string) policy.Resource {
	r := policy.Resource{Name: name, Protocol: "postgres", Port: 5432, Select: selects}
	for _, host := range hosts {
		if block, err := netip.ParsePrefix(host); err == nil {
			r.Hosts = append(r.Hosts, policy.Host{Prefix: block})
			continue
		}
		r.Hosts = append(r.Hosts, policy.Host{Name: host})
	}
	return r
}

// are compares whose addresses are: resources, "refused", "clash" with some
// behind it, or "free".
func are(t *testing.T, table Table, when string, want map[string]string) {
	t.Helper()
	for addr, want := range want {
		route, known := table.Lookup(netip.AddrPortFrom(netip.MustParseAddr(addr), 5432))
		got := strings.Join(route.Resources, " ")
		switch {
		case !known:
			got = "free"
		case len(route.Clash) > 0:
			got = "clash " + strings.Join(route.Clash, " ") + got
		case got == "":
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: %s is %q, want %q", when, addr, got, want)
		}
	}
}

func TestResourcesThatSelectSessionsShareAnAddress(t *testing.T) {
	now := time.Now()
	n := newNames([]policy.Resource{
		at("a", databases("a"), "db1.lab", "db2.lab", "192.0.2.0/24"),
		{Name: "other", Protocol: "postgres", Port: 5433, Hosts: []policy.Host{prefix("192.0.2.0/24")}},
		at("b", databases("b"), "db2.lab", "db3.lab", "192.0.2.128/25"),
		at("c", databases("c"), "192.0.2.130/32"),
	})
	if len(n.all) != 3 {
		t.Errorf("%d names are asked for, want each once", len(n.all))
	}
	answered(t, n, 0, now, 0, "198.51.100.1")
	answered(t, n, 1, now, 0, "198.51.100.2", "198.51.100.9")
	answered(t, n, 2, now, 0, "198.51.100.3", "198.51.100.9", "192.0.2.9")
	are(t, n.table(), "each at its own", map[string]string{
		"198.51.100.1": "a", "198.51.100.2": "a b", "198.51.100.3": "b", "198.51.100.9": "a b", "198.51.100.4": "free",
		"192.0.2.1": "a", "192.0.2.9": "a b", "192.0.2.129": "a b", "192.0.2.130": "a b c",
	})
}

// TestNobodyTakesAnAddressThatNamesCameToShare has names lead to one address at
// run time, which no policy could be refused for.
func TestNobodyTakesAnAddressThatNamesCameToShare(t *testing.T) {
	now := time.Now()
	const addr = "198.51.100.7"
	for what, second := range map[string]policy.Resource{
		"without select":    at("b", policy.Select{}, "b.lab"),
		"both select one":   at("b", policy.Select{Databases: []string{"x", "a"}}, "b.lab"),
		"another dimension": at("b", policy.Select{Users: []string{"a"}}, "b.lab"),
		"another protocol":  {Name: "b", Protocol: "ssh", Port: 5432, Select: databases("b"), Hosts: []policy.Host{{Name: "b.lab"}}},
	} {
		n := newNames([]policy.Resource{at("a", databases("a"), "a.lab"), second, at("c", databases("c"), "c.lab")})
		answered(t, n, 0, now, 0, addr)
		answered(t, n, 1, now, 0, addr)
		are(t, n.table(), what, map[string]string{addr: "clash a b"})
		answered(t, n, 1, now, 0, addr, "198.51.100.8")
		are(t, n.table(), what+", again", map[string]string{addr: "clash a b", "198.51.100.8": "b"})
		answered(t, n, 0, now, 0, "198.51.100.6")
		are(t, n.table(), what+", once the first has it no more", map[string]string{addr: "b", "198.51.100.6": "a"})
		answered(t, n, 0, now, 0, addr)
		answered(t, n, 1, now, 0, "198.51.100.8")
		are(t, n.table(), what+", once the second has it no more", map[string]string{addr: "a", "198.51.100.8": "b"})
		answered(t, n, 2, now, 0, addr)
		are(t, n.table(), what+", with one that can be told from the first", map[string]string{addr: "a c"})
		answered(t, n, 1, now, 0, addr)
		are(t, n.table(), what+", with all", map[string]string{addr: "clash a b c"})
	}
}

func TestNameInABlockOfAnothersTakesNothingFromIt(t *testing.T) {
	now := time.Now()
	n := newNames([]policy.Resource{
		at("net", policy.Select{}, "192.0.2.0/24"), at("name", policy.Select{}, "a.lab"),
		at("one", policy.Select{}, "198.51.100.7/32"), at("own", policy.Select{}, "own.lab", "203.0.113.0/24"),
	})
	answered(t, n, 0, now, 0, "192.0.2.7", "198.51.100.7", "198.51.100.8")
	answered(t, n, 1, now, 0, "203.0.113.9")
	are(t, n.table(), "in it", map[string]string{
		"192.0.2.7": "clash name net", "192.0.2.8": "net", "198.51.100.7": "clash name one", "198.51.100.8": "name", "203.0.113.9": "own",
	})
	answered(t, n, 0, now, 0, "198.51.100.8")
	are(t, n.table(), "no more", map[string]string{"192.0.2.7": "net", "198.51.100.7": "one", "198.51.100.8": "name"})
}

// TestAddressOfARotatingNameStaysSharedWhereSessionsTell has two names that are
// resolved to some of their addresses at a time.
func TestAddressOfARotatingNameStaysSharedWhereSessionsTell(t *testing.T) {
	now := time.Now()
	n := newNames([]policy.Resource{at("a", databases("a"), "a.lab"), at("b", databases("b"), "b.lab"), at("all", policy.Select{}, "all.lab")})
	answered(t, n, 0, now, 0, "198.51.100.1", "198.51.100.2")
	answered(t, n, 1, now, 0, "198.51.100.2")
	answered(t, n, 0, now, 0, "198.51.100.1")
	are(t, n.table(), "one of them has it no more", map[string]string{"198.51.100.1": "a", "198.51.100.2": "a b"})
	answered(t, n, 1, now, 0, "198.51.100.1")
	are(t, n.table(), "neither has it", map[string]string{"198.51.100.1": "a b", "198.51.100.2": "a b"})
	answered(t, n, 2, now, 0, "198.51.100.2")
	are(t, n.table(), "a third has it, which takes all sessions", map[string]string{"198.51.100.2": "all"})
	answered(t, n, 2, now, 0, "198.51.100.3")
	are(t, n.table(), "nobody has it", map[string]string{"198.51.100.2": "all"})
	answered(t, n, 0, now.Add(keepAddress+time.Second), 0, "198.51.100.4")
	are(t, n.table(), "nobody remembers it", map[string]string{"198.51.100.2": "free", "198.51.100.4": "a"})
}

func TestContainerThatGoesTakesItsAddressFromEveryName(t *testing.T) {
	now := time.Now()
	const addr = "198.51.100.7"
	n := newNames([]policy.Resource{at("a", databases("a"), "a.lab"), at("b", databases("b"), "b.lab")})
	n.follow(running("one", addr), now)
	answered(t, n, 0, now, 0, addr)
	answered(t, n, 1, now, 0, addr)
	n.follow(running("two", addr), now.Add(time.Second))
	are(t, n.table(), "its container is gone", map[string]string{addr: "refused"})
	if due := n.due(now.Add(time.Second)); len(due) != 2 {
		t.Errorf("%d names are asked for again", len(due))
	}
	answered(t, n, 1, now.Add(2*time.Second), 0, addr)
	are(t, n.table(), "one name has the next one", map[string]string{addr: "b"})
	answered(t, n, 0, now.Add(2*time.Second), 0, addr)
	are(t, n.table(), "both have", map[string]string{addr: "a b"})
}

func TestPublishedPortInABlockIsTheBlocksToo(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		selects policy.Select
		want    string
	}{
		{databases("block"), "behind+block at 203.0.113.5:5432"},
		{policy.Select{}, "refused"},
	} {
		n := newNames([]policy.Resource{
			at("behind", databases("behind"), "203.0.113.5/32"), at("block", test.selects, "198.51.100.0/24"),
		})
		n.follow(running("one", "203.0.113.5", [2]string{"198.51.100.1:5432", "203.0.113.5:5432"}), now)
		check(t, n, "published", map[string]string{"198.51.100.1:5432": test.want})
	}
}

func TestSuccessorRemembersEveryNameOfAnAddress(t *testing.T) {
	now := time.Now()
	resources := []policy.Resource{at("a", databases("a"), "a.lab", "both.lab"), at("b", databases("b"), "b.lab", "both.lab"), at("c", policy.Select{}, "c.lab")}
	old, next := New(Config{Resources: resources}), New(Config{Resources: resources})
	answered(t, old.names, 0, now, 0, "198.51.100.7")
	answered(t, old.names, 1, now, 0, "198.51.100.8")
	answered(t, old.names, 2, now, 0, "198.51.100.7")
	answered(t, old.names, 3, now, 0, "198.51.100.9")
	text, err := old.Remembered()
	if err != nil {
		t.Fatal(err)
	}
	answered(t, next.names, 0, now, 0, "198.51.100.9")
	answered(t, next.names, 3, now, 0, "198.51.100.10")
	if err := next.Recall(text); err != nil {
		t.Fatal(err)
	}
	are(t, next.names.table(), "after the hand-over", map[string]string{
		"198.51.100.7": "a b", "198.51.100.8": "a b", "198.51.100.9": "a", "198.51.100.10": "c",
	})
	// And across to the proxy.
	shared, err := json.Marshal(next.names.table())
	if err != nil {
		t.Fatal(err)
	}
	var told Table
	if err := json.Unmarshal(shared, &told); err != nil {
		t.Fatal(err)
	}
	are(t, told, "as the proxy is told", map[string]string{"198.51.100.7": "a b", "198.51.100.9": "a"})
}

func TestClashIsSaidOnceAndEndsNothing(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	var table Table
	k := New(Config{
		Resources: []policy.Resource{at("a", policy.Select{}, "a.lab"), at("b", policy.Select{}, "b.lab"), at("c", policy.Select{}, "c.lab")}, Log: zap.New(core),
		Containers: func(context.Context) (attribution.Containers, error) { return attribution.Containers{}, nil },
		Apply:      func(t Table) error { table = t; return nil },
	})
	k.resolve = func(_ context.Context, name string) (answer, error) {
		addr := map[string]string{"a.lab": "198.51.100.7", "b.lab": "198.51.100.7", "c.lab": "198.51.100.8"}[name]
		return answer{addrs: []netip.Addr{netip.MustParseAddr(addr)}}, nil
	}
	if err := errors.Join(k.Resolve(t.Context(), 0), k.Start(), k.apply(), k.apply()); err != nil {
		t.Fatal(err)
	}
	are(t, table, "it starts", map[string]string{"198.51.100.7": "clash a b", "198.51.100.8": "c"})
	said := logs.FilterMessageSnippet("belongs to several resources").All()
	if len(said) != 1 || said[0].ContextMap()["destination"] != "198.51.100.7/32" {
		t.Errorf("it is said %d times: %+v", len(said), said)
	}
	if destinations := table.Destinations(); len(destinations) != 2 {
		t.Errorf("%v are redirected", destinations)
	}
}
