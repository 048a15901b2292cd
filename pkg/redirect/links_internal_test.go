package redirect

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// inFreshNamespace runs f in a network namespace with one end of a veth pair
// whose other end is away, and a pair with both ends there.
func inFreshNamespace(t *testing.T, f func() error) {
	t.Helper()
	ns, err := netlab.NewNamespace()
	must(t, err)
	away, err := netlab.NewNamespace()
	must(t, err)
	must(t, netlab.Connect(ns, away, "veth0", nil, nil))
	must(t, ns.Do(func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "patch0"}, PeerName: "patch1"}
		return errors.Join(netlink.LinkAdd(pair), linkUp("patch0"), linkUp("patch1"), f())
	}))
	must(t, errors.Join(ns.Close(), away.Close()))
}

func linkUp(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newTestGuard(t *testing.T) *linkGuard {
	t.Helper()
	var objects redirectObjects
	must(t, loadRedirectObjects(&objects, nil))
	t.Cleanup(func() { must(t, objects.Close()) })
	return newLinkGuard(t.TempDir(), &objects.redirectPrograms, func(Alert) {}, zaptest.NewLogger(t))
}

// The agent's own packets come in through a pair with both ends here.
func TestLinkWithBothEndsHereIsNotGuardedInwards(t *testing.T) {
	g := newTestGuard(t)
	inFreshNamespace(t, func() error {
		for name, want := range map[string]*ebpf.Program{
			"veth0": g.programs.RedirectLinkIn, "patch0": nil, "patch1": nil, "lo": nil,
		} {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if in, _ := g.wanted(l); in != want {
				t.Errorf("%s: guarded inwards by %v, want %v", name, in, want)
			}
		}
		return nil
	})
}

// The way of kernels without tcx, which this one may have too.
func TestFiltersAreTakenOverAndRemoved(t *testing.T) {
	g := newTestGuard(t)
	g.filters = true
	other := newTestGuard(t)
	other.filters = true
	inFreshNamespace(t, func() error {
		var first, second map[string]int
		steps := []func() error{
			g.coverAll, other.coverAll,
			func() (err error) { first, err = filterIDs(filterName(g.pins)); return err },
			g.coverAll,
			func() (err error) { second, err = filterIDs(filterName(g.pins)); return err },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		if len(first) != 4 { // both ways on veth0, outwards on the pair
			t.Errorf("filters = %v, want 4", first)
		}
		for at, id := range first {
			if second[at] != id {
				t.Errorf("%s: program %d was replaced by %d for nothing", at, id, second[at])
			}
		}
		replaced := g.programs
		g.programs = other.programs
		if err := g.coverAll(); err != nil {
			return err
		}
		third, err := filterIDs(filterName(g.pins))
		if err != nil {
			return err
		}
		if len(third) != len(first) {
			t.Errorf("filters = %v after the programs were replaced, want as many as %v", third, first)
		}
		for at, id := range third {
			if id == first[at] {
				t.Errorf("%s: program %d was not replaced", at, id)
			}
		}
		g.programs = replaced
		return errors.Join(deleteFilters(g.pins), wantFilters(t, g, 0), wantFilters(t, other, 4),
			deleteFilters(other.pins), wantNoClsact(t))
	})
}

func wantFilters(t *testing.T, g *linkGuard, want int) error {
	t.Helper()
	left, err := filterIDs(filterName(g.pins))
	if len(left) != want {
		t.Errorf("filters = %v, want %d", left, want)
	}
	return err
}

func wantNoClsact(t *testing.T) error {
	t.Helper()
	qdiscs, err := netlink.QdiscList(nil)
	for _, q := range qdiscs {
		if q.Type() == "clsact" {
			t.Errorf("clsact is left on link %d", q.Attrs().LinkIndex)
		}
	}
	return err
}

// filterIDs are the programs of filters with a name, by link and direction.
func filterIDs(name string) (map[string]int, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	ids := make(map[string]int)
	for _, l := range links {
		for _, way := range []direction{incoming, outgoing} {
			filters, err := netlink.FilterList(l, way.parent())
			if err != nil {
				continue // no clsact there
			}
			for _, f := range filters {
				if ours, ok := f.(*netlink.BpfFilter); ok && ours.Name == name {
					if _, twice := ids[l.Attrs().Name+" "+string(way)]; twice {
						return nil, errors.New("two filters of one name on " + l.Attrs().Name)
					}
					ids[l.Attrs().Name+" "+string(way)] = ours.Id
				}
			}
		}
	}
	return ids, nil
}
