package agent

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/session"
)

func at(address string) redirect.Destination {
	addr := netip.MustParseAddrPort(address)
	return redirect.Destination{Prefix: netip.PrefixFrom(addr.Addr(), addr.Addr().BitLen()), Port: addr.Port()}
}

func TestNamesThatOthersResolveAreKnownWhereTheyAreListed(t *testing.T) {
	text := `version: 1
resources:
  - {name: shop, protocol: postgres, hosts: [db.example.com, db2.example.com], port: 5432, credentials: [{user: u, password_file: p}]}
  - {name: staff, protocol: postgres, hosts: [db.example.org, staff.example.org], port: 5432, select: {databases: [staff]}, credentials: [{user: u, password_file: p}]}
  - {name: more, protocol: postgres, hosts: [staff.example.org, more.example.net], port: 5432, select: {databases: [more]}, credentials: [{user: u, password_file: p}]}
  - {name: host, protocol: ssh, hosts: [db.example.com], port: 22, credentials: [{user: u, key_file: p}], server_ssh: {known_hosts_file: k}}
  - {name: gone, protocol: postgres, hosts: [gone.example.com], port: 5432, credentials: [{user: u, password_file: p}]}
default: deny
`
	rules, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	table := destination.Table{
		at("192.0.2.1:5432"): {Resources: []string{"shop"}},
		at("192.0.2.2:5432"): {Resources: []string{"shop"}},
		at("192.0.2.3:5432"): {Resources: []string{"staff"}},
		at("192.0.2.4:5432"): {Resources: []string{"staff", "more"}},
		at("192.0.2.1:22"):   {Resources: []string{"host"}},
		at("192.0.2.9:5432"): {}, // of a container that is gone
	}
	for _, test := range []struct {
		name      string
		port      uint16
		resources []string
		at        string
		protected bool
	}{
		{"db.example.com", 5432, []string{"shop"}, "192.0.2.1:5432", true},
		{"db2.example.com", 5432, []string{"shop"}, "192.0.2.1:5432", true},
		{"db.example.com", 22, []string{"host"}, "192.0.2.1:22", true},
		{"db.example.com", 5433, nil, "", false},
		{"db2", 5432, []string{"shop"}, "192.0.2.1:5432", true}, // by a search list
		{"staff.example", 5432, []string{"staff", "more"}, "192.0.2.4:5432", true},
		{"staff.example.org", 5432, []string{"staff", "more"}, "192.0.2.4:5432", true},
		{"more.example.net", 5432, []string{"more"}, "192.0.2.4:5432", true},
		{"db", 5432, nil, "", true}, // one of two
		{"d", 5432, nil, "", false},
		{"example.com", 5432, nil, "", false},
		{"other.example.com", 5432, nil, "", false},
		{"gone.example.com", 5432, nil, "", true},
	} {
		where, route, protected := placeOf(table, rules.Resources(), test.name, test.port)
		place := ""
		if where.IsValid() {
			place = where.String()
		}
		if protected != test.protected || !slices.Equal(route.Resources, test.resources) || place != test.at {
			t.Errorf("%s port %d: %v at %q, protected %v", test.name, test.port, route.Resources, place, protected)
		}
	}
}

// Through another host an address says nothing about who is there.
func TestServerBehindAHostHasToProveWhoItIs(t *testing.T) {
	a := &Agent{Parts: Parts{Servers: Servers{
		"verified": {}, "keys": {TLS: protocol.ServerTLS{Mode: protocol.TLSOff}, KnownHosts: []byte("k")}, "trusted": {TLS: protocol.ServerTLS{Mode: protocol.TLSOff}},
	}}}
	for name, want := range map[string]bool{"verified": true, "keys": true, "trusted": false} {
		if got := a.proven([]*policy.Resource{{Name: "verified"}, {Name: name}}); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !a.proven([]*policy.Resource{{Name: "trusted", Observe: true}}) {
		t.Error("the agent has nothing to show where it only observes")
	}
}

func TestSessionsInsideOfSessionsHaveAnEnd(t *testing.T) {
	v := &serving{Agent: &Agent{Parts: Parts{Log: zap.NewNop()}}, from: arrival{depth: maxDepth - 1}}
	_, err := v.inner(t.Context(), &session.Session{}, protocol.Inner{})
	var unserved protocol.Unserved
	if !errors.As(err, &unserved) || unserved != "it leads through too many hosts" {
		t.Errorf("got %v", err)
	}
}
