package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

const (
	selfTestInterval = 2 * time.Second
	probeTimeout     = 2 * time.Second
	// selfTestLasts is for how long a test says something.
	selfTestLasts = 20 * time.Second
)

// The addresses of probes are protected in every set. No packet can go there:
// the one is for nobody (RFC 7600, section 4.8), the other for discarding (RFC
// 6666). The port is that of the listeners, which tells agents apart.
var probeAddresses = [...]netip.Addr{netip.MustParseAddr("192.0.0.8"), netip.MustParseAddr("100::1")}

// selfTest is what the agent found out about its own hold.
type selfTest struct {
	arrived chan probed // probes that came back with our own record

	mu  sync.Mutex
	err error     // of the latest test; guarded by mu
	at  time.Time // when that was; guarded by mu
}

// probed is one that came back.
type probed struct {
	at      netip.AddrPort
	lineage bool // with what the kernel knows of our ancestors
}

// Healthy returns nil when a connection to a protected destination was redirected
// with its record within the last seconds, and every program is where it was
// attached. It says what is wrong otherwise: what is still attached goes on
// guarding.
func (r *Redirect) Healthy() error {
	r.tested.mu.Lock()
	defer r.tested.mu.Unlock()
	if time.Since(r.tested.at) > selfTestLasts {
		return errors.New("the last self-test is too old")
	}
	return r.tested.err
}

// testItself tests until ctx ends. The first failure after a success is an
// alert.
func (r *Redirect) testItself(ctx context.Context) error {
	tick := time.NewTicker(selfTestInterval)
	defer tick.Stop()
	for {
		err := errors.Join(r.checkLinks(), r.probeAll(ctx))
		if ctx.Err() != nil {
			return nil
		}
		r.tested.mu.Lock()
		failed := err != nil && r.tested.err == nil
		r.tested.err, r.tested.at = err, time.Now()
		r.tested.mu.Unlock()
		if failed {
			r.raise(Alert{Kind: AlertSelfTest, Count: 1, Detail: err.Error()})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// checkLinks compares what is attached with what we attached.
func (r *Redirect) checkLinks() error {
	var errs []error
	for i, h := range hooks(&r.objects.redirectPrograms) {
		if err := r.checkLink(i, h); err != nil {
			errs = append(errs, fmt.Errorf("program %s: %w", h.name, err))
		}
	}
	if r.tracing != nil {
		errs = append(errs, r.tracing.check(r.pins.Name()))
	}
	return errors.Join(errs...)
}

func (r *Redirect) checkLink(i int, h hook) error {
	ours, err := r.links[i].Info()
	if err != nil {
		return fmt.Errorf("read link: %w", err)
	}
	program, err := h.program.Info()
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	pinned, err := link.LoadPinnedLink(filepath.Join(r.pins.Name(), linkPins, h.name), nil)
	if err != nil {
		return fmt.Errorf("it will not outlive the agent: %w", err)
	}
	defer func() { _ = pinned.Close() }()
	info, err := pinned.Info()
	if err != nil {
		return fmt.Errorf("read pinned link: %w", err)
	}
	if info.ID != ours.ID {
		return errors.New("another link is in its place")
	}
	if cgroup := info.Cgroup(); cgroup == nil || cgroup.CgroupId != rootInode {
		return errors.New("it is detached")
	}
	if id, ok := program.ID(); !ok || info.Program != id {
		return errors.New("another program is in its place")
	}
	return nil
}

// probes are the protected destinations that exist for the self-test.
func (r *Redirect) probes() (probes []Destination) {
	for _, a := range probeAddresses {
		probes = append(probes, Destination{Prefix: netip.PrefixFrom(a, a.BitLen()), Port: r.port})
	}
	return probes
}

func (r *Redirect) probeAll(ctx context.Context) error {
	var errs []error
	for _, d := range r.probes() {
		at := netip.AddrPortFrom(d.Prefix.Addr(), d.Port)
		if at.Addr().Is6() && !hasLoopback6() {
			continue
		}
		if err := r.probe(ctx, at); err != nil {
			errs = append(errs, fmt.Errorf("connect to %s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}

// probe connects as any program would, and waits for the record.
func (r *Redirect) probe(ctx context.Context, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil && !errors.Is(err, unix.ECONNRESET) {
		return err
	}
	if err == nil {
		defer func() { _ = conn.Close() }() // the other end resets it, maybe before we see that it connected
	}
	for {
		select {
		case came := <-r.tested.arrived:
			switch {
			case came.at != to:
			case r.tracing != nil && !came.lineage:
				return errors.New("it arrived without its lineage")
			default:
				return nil
			}
		case <-ctx.Done():
			return errors.New("it arrived without its record")
		}
	}
}

// IsProbe reports whether a connection to this destination is one of a self-test,
// whoever made it: there is no server. port is the listeners'. It is to be
// reset, and Probed is to be called.
func IsProbe(to netip.AddrPort, port uint16) bool {
	return to.Port() == port && slices.Contains(probeAddresses[:], to.Addr())
}

// Probed says that a probe was accepted. Only our own prove anything.
func (r *Redirect) Probed(origin Origin) {
	if origin.PID != uint32(os.Getpid()) {
		return
	}
	select {
	case r.tested.arrived <- probed{at: origin.Destination, lineage: origin.Lineage != nil}:
	default: // one that came too late for its test
	}
}

// hasLoopback6 reports whether ::1 exists here, which a host can do without.
func hasLoopback6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
