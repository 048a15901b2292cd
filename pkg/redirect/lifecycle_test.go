package redirect_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

func TestOriginNamesTheProcessThatAsked(t *testing.T) {
	l := newLab(t)
	cgroup, err := netlab.NewCgroup("redirect")
	must(t, err)
	closeLater(t, cgroup.Close)
	before := time.Now()
	end := startClient(t, l.job, cgroup, l.server4)
	defer end()
	got := l.accept(t).Origin

	if got.CgroupID != cgroup.ID {
		t.Errorf("cgroup = %d, want %d", got.CgroupID, cgroup.ID)
	}
	exe, err := os.Readlink(filepath.Join("/proc", itoa(got.PID), "exe"))
	must(t, err)
	if own, err := os.Executable(); err != nil || exe != own {
		t.Errorf("pid %d is %s, want %s", got.PID, exe, own)
	}
	if int(got.UID) != os.Getuid() {
		t.Errorf("uid = %d, want %d", got.UID, os.Getuid())
	}
	if got.Started.Before(before.Add(-time.Second)) || got.Started.After(time.Now()) {
		t.Errorf("started = %s, want between %s and now", got.Started, before)
	}
}

func TestAgentsSideBySideKeepApart(t *testing.T) {
	a, b := newLab(t), newLab(t)
	for _, l := range []*lab{a, b, a} {
		_, err := dialFrom(t, l.job, "tcp4", l.server4)
		must(t, err)
		if got := l.accept(t).Origin.Destination; got != l.server4 {
			t.Errorf("destination = %s, want %s", got, l.server4)
		}
	}
	// One agent's flag means nothing to the other's programs.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := a.dialServer(ctx, b.server4)
	must(t, err)
	defer func() { _ = conn.Close() }()
	if got := b.accept(t).Origin.Destination; got != b.server4 {
		t.Errorf("destination = %s, want %s", got, b.server4)
	}
}

func TestSecondAgentOnTheSamePinsIsRefused(t *testing.T) {
	l := newLab(t)
	_, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
	if !errors.Is(err, redirect.ErrInUse) {
		t.Errorf("Open = %v, want %v", err, redirect.ErrInUse)
	}
	if err := redirect.Uninstall(l.pins); !errors.Is(err, redirect.ErrInUse) {
		t.Errorf("Uninstall = %v, want %v", err, redirect.ErrInUse)
	}
}

func TestAgentWaitsForThePinsOfOneThatIsEnding(t *testing.T) {
	l := newLab(t)
	l.stop()
	ended := make(chan error, 1)
	time.AfterFunc(300*time.Millisecond, func() { ended <- l.agent.Close() })
	next, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
	must(t, err)
	must(t, <-ended)
	must(t, next.Close())
}

func TestNextAgentTakesOverWithoutAGap(t *testing.T) {
	l := newLab(t)
	before := l.linkIDs(t)
	l.stop()
	must(t, l.agent.Close())

	next, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
	must(t, err)
	closeLater(t, next.Close)
	l.agent = next // and no Protect: what was protected still is
	l.runAgent(t)
	_, err = dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	if got := l.accept(t).Origin.Destination; got != l.server4 {
		t.Errorf("destination = %s, want %s", got, l.server4)
	}
	for name, id := range l.linkIDs(t) {
		if before[name] != id {
			t.Errorf("link %s was attached anew: there was a gap", name)
		}
	}
}

// The programs look at no destination whose port is not in the set, and an
// agent of another version may have left none.
func TestSetOfPortsIsMadeFromThePinnedDestinations(t *testing.T) {
	l := newLab(t)
	l.stop()
	must(t, l.agent.Close())
	must(t, os.Remove(filepath.Join(l.pins, "maps", "protected_ports")))

	next, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
	must(t, err)
	closeLater(t, next.Close)
	l.agent = next // and no Protect
	l.runAgent(t)
	_, err = dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	if got := l.accept(t).Origin.Destination; got != l.server4 {
		t.Errorf("destination = %s, want %s", got, l.server4)
	}
}

// However agents end and begin, not one packet gets past them.
func TestNothingLeaksWhileAgentsComeAndGo(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	closeLater(t, func() error { return redirect.Uninstall(l.pins) })
	agent := l.startAgentProcess(t)
	wire := l.tapServer(t)

	enough := make(chan struct{})
	hammered := make(chan uint64)
	for range 4 {
		go func() { hammered <- l.hammer(enough) }()
	}
	for range 5 {
		must(t, agent.Process.Kill())
		_ = agent.Wait() // reports the kill
		next, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
		must(t, err)
		must(t, next.Close())
		agent = l.startAgentProcess(t)
	}
	close(enough)
	for range 4 {
		if tries := <-hammered; tries == 0 {
			t.Error("nobody tried to connect")
		}
	}
	if got := wire.until(t, l.sentinel(t), to(l.server4)); len(got) > 0 {
		t.Errorf("%d packets arrived at the server, want none; the first is %x", len(got), got[0])
	}
}

// hammer connects to the server until told to end, and returns how often.
func (l *lab) hammer(enough <-chan struct{}) (tries uint64) {
	peer := sockaddr(unix.AF_INET, l.server4)
	_ = l.job.Do(func() error {
		for {
			select {
			case <-enough:
				return nil
			default:
				_ = connectAndReset(peer) // served or refused, as it happens
				tries++
			}
		}
	})
	return tries
}

func TestUninstallUnguards(t *testing.T) {
	l := newLab(t)
	links := l.linkIDs(t)
	l.stop()
	must(t, l.agent.Close())
	must(t, redirect.Uninstall(l.pins))
	if _, err := os.Stat(l.pins); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat %s = %v, want %v", l.pins, err, fs.ErrNotExist)
	}
	for name, id := range links {
		eventually(t, "link "+name+" is detached", func() bool {
			_, err := link.NewFromID(id)
			return errors.Is(err, fs.ErrNotExist)
		})
	}
	// The kernel takes a link's number away before its program.
	eventually(t, "the server is open to everybody", func() bool {
		_, err := dialFrom(t, l.job, "tcp4", l.server4)
		return err == nil
	})
}

// linkIDs are the links that are in force, by the name of their program.
func (l *lab) linkIDs(t testing.TB) map[string]link.ID {
	t.Helper()
	ids := l.pinnedLinks(t, "links")
	if len(ids) == 0 {
		t.Fatal("no links are pinned")
	}
	return ids
}

// pinnedLinks are the links below a directory of the pins, by file name.
func (l *lab) pinnedLinks(t testing.TB, dir string) map[string]link.ID {
	t.Helper()
	pins, err := filepath.Glob(filepath.Join(l.pins, dir, "*"))
	must(t, err)
	ids := make(map[string]link.ID)
	for _, pin := range pins {
		pinned, err := link.LoadPinnedLink(pin, nil)
		must(t, err)
		info, err := pinned.Info()
		must(t, errors.Join(err, pinned.Close()))
		ids[filepath.Base(pin)] = info.ID
	}
	return ids
}

func TestConnectionWithoutRecordIsReset(t *testing.T) {
	l := newLab(t)
	own, err := netlab.Own()
	must(t, err)
	closeLater(t, own.Close)
	_, err = dialFrom(t, own, "tcp4", l.server4) // now there is a listener here
	must(t, err)
	l.accept(t)
	// Only the agent's own flag gets this far.
	conn, err := l.dialServer(t.Context(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.slice.Port))
	if err == nil {
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("dial or read = %v, want %v", err, unix.ECONNRESET)
	}
	l.wantAlert(t, redirect.AlertNoRecord)
}

// knows returns a question: does the agent know a network namespace?
func (l *lab) knows(t testing.TB, cookie uint64) func() bool {
	t.Helper()
	namespaces, err := ebpf.LoadPinnedMap(filepath.Join(l.pins, "maps", "namespaces"), nil)
	must(t, err)
	closeLater(t, namespaces.Close)
	return func() bool {
		value, err := namespaces.LookupBytes(cookie) // nil if there is none
		must(t, err)
		return value != nil
	}
}

func TestListenersLeaveWithTheLastProcess(t *testing.T) {
	l := newLab(t)
	ns := newNamespace(t)
	first, last := inhabit(t, ns), inhabit(t, ns)
	_, err := dialFrom(t, ns, "tcp4", l.server4)
	must(t, err)
	cookie := l.accept(t).Origin.NetnsCookie

	known := l.knows(t, cookie)
	if !known() {
		t.Fatal("the namespace is not known while a process is in it")
	}
	must(t, first.Process.Kill())
	killed := time.Now()
	eventually(t, "three seconds have passed", func() bool {
		if !known() {
			t.Fatal("the namespace is forgotten while a process is in it")
		}
		return time.Since(killed) > 3*time.Second
	})
	must(t, last.Process.Kill())
	eventually(t, "the namespace is forgotten", func() bool { return !known() })

	_, err = dialFrom(t, ns, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
}

// The tests' own mount namespace keeps this bpffs from the machine.
func TestUsualPlaceForPinsIsMountedWhereItIsMissing(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join("/sys/fs/bpf", "redirect-test-"+itoa(uint32(l.slice.Port)))
	l.openAgent(t)
	l.runAgent(t)
	_, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
	l.stop()
	must(t, l.agent.Close())
	must(t, redirect.Uninstall(l.pins))
	if _, err := os.Stat(l.pins); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat %s = %v, want %v", l.pins, err, fs.ErrNotExist)
	}
}

// Maps whose sizes agree may still mean something else.
func TestPinsOfAnotherLayoutAreLeftAlone(t *testing.T) {
	l := newLab(t)
	l.stop()
	must(t, l.agent.Close())
	pin := filepath.Join(l.pins, "maps", "layout_version")
	version, err := ebpf.LoadPinnedMap(pin, nil)
	must(t, err)
	closeLater(t, version.Close)
	var layout uint32
	must(t, version.Lookup(uint32(0), &layout))

	for name, change := range map[string]func(){
		"newer":      func() { must(t, version.Put(uint32(0), layout+1)) },
		"older":      func() { must(t, version.Put(uint32(0), layout-1)) },
		"without it": func() { must(t, os.Rename(pin, pin+"-away")) },
	} {
		change()
		if _, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t)); !errors.Is(err, redirect.ErrIncompatible) {
			t.Errorf("%s: Open = %v, want %v", name, err, redirect.ErrIncompatible)
		}
		if took := refusedIn(t, l.job, l.server4); took > time.Second {
			t.Errorf("%s: the refusal took %s", name, took)
		}
		must(t, version.Put(uint32(0), layout))
		_ = os.Rename(pin+"-away", pin) // where it was moved away
	}
	must(t, redirect.Uninstall(l.pins))
	next, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
	must(t, err)
	must(t, next.Close())
}
