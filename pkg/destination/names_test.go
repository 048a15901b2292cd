package destination

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/policy"
)

func prefix(text string) policy.Host { return policy.Host{Prefix: netip.MustParsePrefix(text)} }

func TestLongestPrefixDecidesWhereADestinationIsLookedUp(t *testing.T) {
	resolved := newNames([]policy.Resource{
		{Name: "net", Hosts: []policy.Host{prefix("192.0.2.0/24")}, Port: 5432, Select: databases("a")},
		{Name: "host", Hosts: []policy.Host{prefix("192.0.2.7/32")}, Port: 5432, Select: databases("b")},
		{Name: "v6", Hosts: []policy.Host{prefix("2001:db8::/64")}, Port: 5432},
	}).table()
	for _, test := range []struct{ destination, want string }{
		{"192.0.2.7:5432", "host net"},
		{"192.0.2.8:5432", "net"},
		{"[::ffff:192.0.2.7]:5432", "host net"},
		{"[2001:db8::9]:5432", "v6"},
		{"192.0.2.7:5433", ""},
		{"198.51.100.1:5432", ""},
	} {
		if got, _ := resolved.Lookup(netip.MustParseAddrPort(test.destination)); strings.Join(got.Resources, " ") != test.want {
			t.Errorf("%s belongs to %q, want %q", test.destination, got.Resources, test.want)
		}
	}
}

// is what the name with this index was resolved to, for so long.
func is(n *names, index int, at time.Time, ttl time.Duration, addrs ...string) answer {
	a := answer{named: n.all[index], asked: at, least: ttl, most: ttl}
	for _, addr := range addrs {
		a.addrs = append(a.addrs, netip.MustParseAddr(addr))
	}
	return a
}

// answered takes such an answer.
func answered(t *testing.T, n *names, index int, at time.Time, ttl time.Duration, addrs ...string) {
	t.Helper()
	if err := n.take([]answer{is(n, index, at, ttl, addrs...)}, at); err != nil {
		t.Fatal(err)
	}
}

// unanswered is what comes when nobody answers for the only name.
func unanswered(t *testing.T, n *names, at time.Time) {
	t.Helper()
	if n.take([]answer{{named: n.all[0], asked: at, err: errors.New("away")}}, at) == nil {
		t.Fatal("a name that cannot be resolved is no error")
	}
}

// one is a resource with one name.
func one() []policy.Resource {
	return []policy.Resource{{Name: "db", Hosts: []policy.Host{{Name: "db.example.com"}}, Port: 5432}}
}

func TestNameThatCannotBeResolvedKeepsItsAddresses(t *testing.T) {
	n, began := newNames(one()), time.Now()
	answered(t, n, 0, began, 0, "192.0.2.7")
	for hours := range 5 {
		unanswered(t, n, began.Add(time.Duration(hours)*time.Hour))
	}
	if wanted := n.table(); len(wanted) != 1 {
		t.Errorf("%d destinations are protected, want the one from before", len(wanted))
	}
}

func TestAddressIsKeptForAsLongAsItMayBeRemembered(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute, 24 * time.Hour} {
		n, began := newNames(one()), time.Now()
		answered(t, n, 0, began, ttl, "192.0.2.7", "192.0.2.8")
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{time.Second, 2}, {ttl + keepAddress - time.Second, 2}, {ttl + keepAddress + time.Second, 1}} {
			answered(t, n, 0, began.Add(step.after), ttl, "192.0.2.8")
			if wanted := n.table(); len(wanted) != step.want {
				t.Errorf("with a TTL of %v, after %v %d destinations are protected, want %d", ttl, step.after, len(wanted), step.want)
			}
		}
	}
}

func TestPolicysOwnAddressOutlastsNamesThatHadIt(t *testing.T) {
	resources := one()
	resources[0].Hosts = append(resources[0].Hosts, prefix("192.0.2.7/32"))
	n, began := newNames(resources), time.Now()
	answered(t, n, 0, began, 0, "192.0.2.7")
	answered(t, n, 0, began.Add(2*keepAddress), 0, "192.0.2.8")
	check(t, n, "long after", map[string]string{"192.0.2.7:5432": "db at 192.0.2.7:5432"})
}

func TestNameIsAskedForAgainWhenItsAnswerEnds(t *testing.T) {
	for _, test := range []struct{ ttl, next time.Duration }{
		{0, resolveLatest}, {time.Nanosecond, resolveSoonest}, {3 * time.Second, 3 * time.Second}, {time.Hour, resolveLatest},
	} {
		n, began := newNames(one()), time.Now()
		answered(t, n, 0, began, test.ttl, "192.0.2.7")
		if len(n.due(began.Add(test.next-time.Millisecond))) != 0 || len(n.due(began.Add(test.next))) != 1 {
			t.Errorf("an answer that holds for %v is not asked for after %v", test.ttl, test.next)
		}
	}
}

func TestSuccessorRemembersWhatItsNamesHad(t *testing.T) {
	began := time.Now()
	old, next := New(Config{Resources: one()}), New(Config{Resources: one()})
	answered(t, old.names, 0, began, 0, "192.0.2.7", "192.0.2.8")
	answered(t, old.names, 0, began.Add(time.Second), 0, "192.0.2.8")
	text, err := old.Remembered()
	if err != nil {
		t.Fatal(err)
	}
	answered(t, next.names, 0, began.Add(2*time.Second), 0, "192.0.2.9")
	if err := next.Recall(text); err != nil {
		t.Fatal(err)
	}
	if wanted := next.names.table(); len(wanted) != 3 {
		t.Errorf("%d destinations are protected, want the old one's and its own", len(wanted))
	}
	answered(t, next.names, 0, began.Add(keepAddress+1500*time.Millisecond), 0, "192.0.2.9")
	if wanted := next.names.table(); len(wanted) != 1 {
		t.Errorf("%d destinations are protected in the end", len(wanted))
	}
	if next.Recall([]byte("{")) == nil {
		t.Error("it recalls anything")
	}
}
