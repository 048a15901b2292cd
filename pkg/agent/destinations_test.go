package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/policy"
)

func prefix(text string) policy.Host { return policy.Host{Prefix: netip.MustParsePrefix(text)} }

func refreshed(t *testing.T, resources ...policy.Resource) table {
	t.Helper()
	d := newDestinations(resources)
	if err := d.refresh(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	_, resolved := d.protected()
	return resolved
}

func TestLongestPrefixDecidesWhoseDestinationItIs(t *testing.T) {
	resolved := refreshed(t,
		policy.Resource{Name: "net", Hosts: []policy.Host{prefix("192.0.2.0/24")}, Port: 5432},
		policy.Resource{Name: "host", Hosts: []policy.Host{prefix("192.0.2.7/32")}, Port: 5432},
		policy.Resource{Name: "v6", Hosts: []policy.Host{prefix("2001:db8::/64")}, Port: 5432},
	)
	for _, test := range []struct{ destination, want string }{
		{"192.0.2.7:5432", "host"},
		{"192.0.2.8:5432", "net"},
		{"[::ffff:192.0.2.7]:5432", "host"},
		{"[2001:db8::9]:5432", "v6"},
		{"192.0.2.7:5433", ""},
		{"198.51.100.1:5432", ""},
	} {
		got := ""
		if found, known := resolved.lookup(netip.MustParseAddrPort(test.destination)); known {
			got = found.resource.Name
		}
		if got != test.want {
			t.Errorf("%s belongs to %q, want %q", test.destination, got, test.want)
		}
	}
}

func TestOneDestinationCannotBelongToTwoResources(t *testing.T) {
	d := newDestinations([]policy.Resource{
		{Name: "a", Hosts: []policy.Host{prefix("192.0.2.7/32")}, Port: 5432},
		{Name: "b", Hosts: []policy.Host{prefix("192.0.2.7/32")}, Port: 5432},
	})
	err := d.refresh(t.Context(), time.Now())
	if err == nil || !strings.Contains(err.Error(), "belongs to resource a and to resource b") {
		t.Errorf("got %v", err)
	}
}

// away is a resolver whose servers do not answer.
func away() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("away")
	}}
}

func TestNameThatCannotBeResolvedKeepsItsAddresses(t *testing.T) {
	d := newDestinations([]policy.Resource{{Name: "a", Hosts: []policy.Host{{Name: "a.example.com"}}, Port: 5432}})
	d.resolver = away()
	began := time.Now()
	if err := d.see(netip.MustParsePrefix("192.0.2.7/32"), &d.resources[0], began); err != nil {
		t.Fatal(err)
	}
	for hours := range 5 {
		if d.refresh(t.Context(), began.Add(time.Duration(hours)*time.Hour)) == nil {
			t.Fatal("a name that cannot be resolved is no error")
		}
	}
	if wanted, _ := d.protected(); len(wanted) != 1 {
		t.Errorf("%d destinations are protected, want the one from before", len(wanted))
	}
}

func TestAddressThatANameLostIsForgottenInTheEnd(t *testing.T) {
	d := newDestinations([]policy.Resource{{Name: "a", Hosts: []policy.Host{prefix("192.0.2.7/32")}, Port: 5432}})
	began := time.Now()
	if err := d.see(netip.MustParsePrefix("192.0.2.8/32"), &d.resources[0], began); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{keepAddress / 2, 2}, {2 * keepAddress, 1}} {
		if err := d.refresh(t.Context(), began.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if wanted, _ := d.protected(); len(wanted) != step.want {
			t.Errorf("after %v %d destinations are protected, want %d", step.after, len(wanted), step.want)
		}
	}
}
