package netlab_test

import (
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// A thread that dies in a foreign namespace must not be the main one.
func init() { runtime.LockOSThread() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSlicesDoNotOverlap(t *testing.T) {
	var taken []*netlab.Slice
	for range 5 {
		slice, err := netlab.Take()
		must(t, err)
		defer func() { must(t, slice.Release()) }()
		for _, other := range taken {
			if slice.V4.Overlaps(other.V4) || slice.V6.Overlaps(other.V6) || slice.Port == other.Port {
				t.Errorf("%v overlaps %v", slice, other)
			}
		}
		taken = append(taken, slice)
	}
}

func TestHostsLieInTheirSlice(t *testing.T) {
	slice, err := netlab.Take()
	must(t, err)
	defer func() { must(t, slice.Release()) }()
	for _, host := range []netip.Addr{slice.Host4(1), slice.Host4(14)} {
		if !slice.V4.Contains(host) {
			t.Errorf("%s is not in %s", host, slice.V4)
		}
	}
	if !slice.V6.Contains(slice.Host6(255)) {
		t.Errorf("%s is not in %s", slice.Host6(255), slice.V6)
	}
}

func TestConnectedNamespacesReachEachOther(t *testing.T) {
	slice, err := netlab.Take()
	must(t, err)
	defer func() { must(t, slice.Release()) }()
	a, err := netlab.NewNamespace()
	must(t, err)
	defer func() { must(t, a.Close()) }()
	b, err := netlab.NewNamespace()
	must(t, err)
	defer func() { must(t, b.Close()) }()
	must(t, netlab.Connect(a, b, "eth0",
		[]netip.Prefix{netip.PrefixFrom(slice.Host4(1), 28), netip.PrefixFrom(slice.Host6(1), 64)},
		[]netip.Prefix{netip.PrefixFrom(slice.Host4(2), 28), netip.PrefixFrom(slice.Host6(2), 64)}))

	for _, host := range []netip.Addr{slice.Host4(2), slice.Host6(2)} {
		var l net.Listener
		must(t, b.Do(func() (err error) {
			l, err = net.Listen("tcp", netip.AddrPortFrom(host, slice.Port).String())
			return err
		}))
		must(t, a.Do(func() error {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return err
			}
			return conn.Close()
		}))
		must(t, l.Close())
	}
}

func TestCommandRunsInItsNamespaceAndCgroup(t *testing.T) {
	ns, err := netlab.NewNamespace()
	must(t, err)
	defer func() { must(t, ns.Close()) }()
	cgroup, err := netlab.NewCgroup("netlab")
	must(t, err)
	defer func() { must(t, cgroup.Close()) }()

	cmd := exec.Command("sh", "-c", "cat /proc/net/dev /proc/self/cgroup")
	cgroup.Enter(cmd)
	var out strings.Builder
	cmd.Stdout = &out
	must(t, ns.Start(cmd))
	must(t, cmd.Wait())
	if !strings.Contains(out.String(), "lo:") || strings.Contains(out.String(), "eth0:") {
		t.Errorf("the command sees other links than its own loopback:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "0::/netlab-") {
		t.Errorf("the command is not in its cgroup:\n%s", out.String())
	}
}
