package redirect_test

import (
	"net/netip"
	"testing"

	"github.com/sluicegate/sluice/pkg/redirect"
)

func TestPrefixProtectsEveryAddressInIt(t *testing.T) {
	l := newLab(t)
	must(t, l.agent.Protect([]redirect.Destination{
		{Prefix: l.slice.V4, Port: protectedPort},
		{Prefix: l.slice.V6, Port: protectedPort},
	}))
	for _, to := range []netip.AddrPort{
		l.server4, netip.AddrPortFrom(l.slice.Host4(14), protectedPort), netip.AddrPortFrom(l.slice.V4.Addr(), protectedPort),
		l.server6, netip.AddrPortFrom(l.slice.Host6(255), protectedPort),
	} {
		_, err := dialFrom(t, l.job, "tcp", to)
		must(t, err)
		if got := l.accept(t).Origin.Destination; got != to {
			t.Errorf("destination = %s, want %s", got, to)
		}
	}
	_, err := dialFrom(t, l.job, "tcp", netip.AddrPortFrom(l.server4.Addr(), openPort))
	must(t, err)
}

func TestDestinationThatMeansNothingIsRefused(t *testing.T) {
	l := newLab(t)
	for name, d := range map[string]redirect.Destination{
		"no prefix": {Port: protectedPort},
		"no port":   {Prefix: l.slice.V4},
	} {
		if err := l.agent.Protect([]redirect.Destination{d}); err == nil {
			t.Errorf("%s: Protect = nil, want an error", name)
		}
	}
	_, err := dialFrom(t, l.job, "tcp", l.server4) // the earlier set is in force
	must(t, err)
	l.accept(t)
}

func TestServiceOnLoopbackIsProtectedByEveryName(t *testing.T) {
	l := newLab(t)
	loopback := netip.MustParseAddr("127.0.0.1")
	must(t, l.agent.Protect([]redirect.Destination{{Prefix: netip.PrefixFrom(loopback, 32), Port: l.slice.Port + 2000}}))
	want := netip.AddrPortFrom(loopback, l.slice.Port+2000)
	for _, name := range []string{"127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"} {
		_, err := dialFrom(t, l.job, "tcp", netip.AddrPortFrom(netip.MustParseAddr(name), want.Port()))
		must(t, err)
		if got := l.accept(t).Origin.Destination; got != want {
			t.Errorf("connect to %s: destination = %s, want %s", name, got, want)
		}
	}
}

func TestProbeFindsThisMachineAble(t *testing.T) {
	for _, f := range redirect.Probe("") {
		if f.Required && !f.OK {
			t.Errorf("%s: %s", f.Name, f.Why)
		}
	}
	if f := redirect.Probe(t.TempDir())[0]; f.OK || f.Why == "" {
		t.Errorf("a directory that is no cgroup: %+v, want a reason why not", f)
	}
}
