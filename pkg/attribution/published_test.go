package attribution_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/attribution"
)

// list is the form of the Engine's own answer, of what we read and some more.
const list = `[
  {"Id": "one", "Names": ["/db"], "Ports": [
      {"IP": "0.0.0.0", "PrivatePort": 5432, "PublicPort": 15432, "Type": "tcp"},
      {"IP": "::", "PrivatePort": 5432, "PublicPort": 15432, "Type": "tcp"},
      {"IP": "127.0.0.1", "PrivatePort": 5433, "PublicPort": 15433, "Type": "tcp"},
      {"IP": "0.0.0.0", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
      {"PrivatePort": 9187, "Type": "tcp"}],
   "NetworkSettings": {"Networks": {
      "a": {"IPAddress": "203.0.113.5", "GlobalIPv6Address": "2001:db8:1::5"},
      "b": {"IPAddress": "203.0.113.130", "GlobalIPv6Address": ""}}}},
  {"Id": "two", "Ports": [{"IP": "198.51.100.1", "PrivatePort": 22, "PublicPort": 2222, "Type": "tcp"}],
   "NetworkSettings": {"Networks": {"a": {"IPAddress": "203.0.113.6", "GlobalIPv6Address": ""}}}},
  {"Id": "three", "Ports": [], "NetworkSettings": {"Networks": {"host": {"IPAddress": "", "GlobalIPv6Address": ""}}}}
]`

// listing returns a registry whose engine answers so, on a node with these
// addresses.
func listing(t *testing.T, answer string, node ...string) *attribution.Registry {
	t.Helper()
	sources := attribution.Local(attribution.Config{
		CgroupRoot: cgroupRoot(t),
		DockerSocket: serveEngine(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/containers/json" {
				t.Errorf("the engine was asked for %s", r.URL.Path)
			}
			_, _ = w.Write([]byte(answer))
		}),
	})
	sources.Addresses = func(context.Context) ([]netip.Addr, error) {
		var all []netip.Addr
		for _, text := range node {
			all = append(all, netip.MustParseAddr(text))
		}
		return all, nil
	}
	return attribution.New(sources, zaptest.NewLogger(t))
}

func TestPublishedPortsAreThoseOfEveryAddressOfTheNode(t *testing.T) {
	r := listing(t, list, "127.0.0.1", "::1", "198.51.100.1", "203.0.113.1", "fe80::1")
	got, err := r.Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for _, p := range got.Published {
		pairs = append(pairs, p.Node.String()+" "+p.Container.String())
	}
	want := []string{
		"198.51.100.1:15432 203.0.113.5:5432", "198.51.100.1:15432 203.0.113.130:5432", "198.51.100.1:15432 [2001:db8:1::5]:5432",
		"203.0.113.1:15432 203.0.113.5:5432", "203.0.113.1:15432 203.0.113.130:5432", "203.0.113.1:15432 [2001:db8:1::5]:5432",
		"[fe80::1]:15432 [2001:db8:1::5]:5432", "[fe80::1]:15432 203.0.113.5:5432", "[fe80::1]:15432 203.0.113.130:5432",
		"198.51.100.1:2222 203.0.113.6:22",
	}
	if diff := cmp.Diff(want, pairs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	owners := map[netip.Addr]string{
		netip.MustParseAddr("203.0.113.5"): "one", netip.MustParseAddr("203.0.113.130"): "one",
		netip.MustParseAddr("2001:db8:1::5"): "one", netip.MustParseAddr("203.0.113.6"): "two",
	}
	if diff := cmp.Diff(owners, got.Owners, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("owners, -want +got:\n%s", diff)
	}
}

func TestListThatCannotBeReadIsNotAnEmptyOne(t *testing.T) {
	for _, answer := range []string{"", "null", "{}", `[{"Ports": "x"}]`, `[{"Id": "cut`} {
		if got, err := listing(t, answer).Containers(t.Context()); err == nil {
			t.Errorf("%q gives %+v", answer, got)
		}
	}
	if got, err := attribution.New(attribution.Sources{}, zaptest.NewLogger(t)).Containers(t.Context()); err != nil || len(got.Published) != 0 {
		t.Errorf("without an engine: %+v, %v", got, err)
	}
}
