// Package redirect brings connections to the agent, whoever opens them and in
// whatever network namespace, and lets nothing else through to a protected
// destination.
//
// It loads the programs of bpf/ and attaches them once, at the root of cgroup
// v2 and to the network links of its own namespace. It opens a listener on
// loopback inside each workload's own network namespace, and hands out the
// accepted connections together with what the kernel knew of the process that
// asked. It dials servers from the agent's namespace with sockets that the
// programs let pass.
//
// It promises that a connection without a kernel record is closed, that a
// listener only counts as ready after our own listen succeeded, and that all
// programs stay attached when the agent ends, however it ends: protected
// destinations are then refused, not unguarded. It does not see a process of the
// host's network that writes frames past the queue of a link, it does not know
// who a workload is, and it parses nothing that a workload sent.
//
// It is the privileged half of the agent: only plain values and sockets cross
// its interface.
//
// The program's main package must call runtime.LockOSThread in an init
// function. Otherwise a goroutine that has to die on its thread, because the
// thread could not leave a foreign namespace, may take the main thread with it,
// and /proc/self/ns/net would name the wrong namespace from then on.
package redirect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Config is what differs between two agents on one machine.
type Config struct {
	// Pins is the directory that keeps programs and maps alive between two
	// runs. It must be on bpffs, which is mounted where it is missing.
	Pins string
	// Cgroup is where the root of cgroup v2 is mounted; empty means find it, or
	// mount it for this agent alone where only v1 is.
	Cgroup string
	// Port is the listeners' port in each network namespace. Nobody else can
	// bind it. Choose one below net.ipv4.ip_local_port_range.
	Port uint16
	// Exempt are paths of host cgroups, as /system.slice/kubelet.service. What
	// their own processes connect to is not redirected; each connection to a
	// protected destination is an alert. Cgroups below them are not exempt.
	Exempt []string
	// DestroyOpen ends the connections to protected destinations that are open
	// when something is protected for the first time. Else they are left to
	// end. Either is an alert.
	DestroyOpen bool
}

// Redirect is one agent's hold on this machine's connections. Its methods are
// safe for concurrent use.
type Redirect struct {
	log         *zap.Logger
	port        uint16
	cgroups     string // where the root of cgroup v2 is mounted; empty: v1 alone is
	objects     redirectObjects
	links       []link.Link
	tracing     *tracing // nil where this kernel cannot tell lineages
	guard       *linkGuard
	pins        *os.File  // the directory, locked: one agent at a time
	booted      time.Time // fixed at Open, so that a process has one start time
	records     *Records
	accepted    chan *Accepted
	alerts      chan Alert
	exempt      []string
	destroyOpen bool
	first       bool          // nothing was protected when it was opened; guarded by protect
	lost        atomic.Uint64 // alerts that found their channel full
	refusals    atomic.Uint64 // namespaces that could not be enrolled
	searches    chan uint64   // cookies of namespaces that /proc/PID did not lead to
	changed     chan struct{} // of one: namespaces came or went
	done        chan struct{} // closed by Close
	close       sync.Once

	tested selfTest

	protect   sync.Mutex    // serialises Protect
	protected []Destination // as Protect was told; guarded by protect
	tunnels   []Destination // protected beside them; guarded by protect

	mu       sync.Mutex
	enrolled map[uint64]*namespace // by netns cookie; guarded by mu
	owned    map[string]int        // enrolled ones of each owner; guarded by mu
	refused  map[uint64]time.Time  // could not be enrolled, and when; guarded by mu

	hands   sync.Mutex // taken after mu, never before
	running bool       // Run runs; guarded by hands
	lent    bool       // another process accepts; guarded by hands
}

// Open loads the programs and attaches them, or takes over what an earlier run
// left pinned: its maps and its protected destinations stay in force, and each
// program is replaced atomically. Connections to a protected destination wait
// for Run; when it is not called within a second they are refused.
func Open(cfg Config, log *zap.Logger) (*Redirect, error) {
	if cfg.Port == 0 {
		return nil, errors.New("open redirect: the listeners need a port")
	}
	if err := checkExempt(cfg.Exempt); err != nil {
		return nil, fmt.Errorf("open redirect: %w", err)
	}
	root, err := openCgroupRoot(cfg.Cgroup)
	if err != nil {
		return nil, fmt.Errorf("open redirect: %w", err)
	}
	defer func() { _ = root.Close() }()
	pins, err := lockPins(cfg.Pins)
	if err != nil {
		return nil, fmt.Errorf("open redirect: %w", err)
	}
	r := newRedirect(cfg, root, pins, log)
	if err := r.load(cfg.Pins, root); err != nil {
		return nil, errors.Join(fmt.Errorf("open redirect: %w", err), r.Close())
	}
	return r, nil
}

func newRedirect(cfg Config, root, pins *os.File, log *zap.Logger) *Redirect {
	return &Redirect{
		log:         log,
		port:        cfg.Port,
		cgroups:     root.Name(),
		pins:        pins,
		booted:      bootTime(),
		accepted:    make(chan *Accepted),
		alerts:      make(chan Alert, alertBacklog),
		exempt:      cfg.Exempt,
		destroyOpen: cfg.DestroyOpen,
		searches:    make(chan uint64, searchBacklog),
		changed:     make(chan struct{}, 1),
		tested:      selfTest{arrived: make(chan probed, 1)},
		done:        make(chan struct{}),
		enrolled:    make(map[uint64]*namespace),
		owned:       make(map[string]int),
		refused:     make(map[uint64]time.Time),
	}
}

// load brings maps, programs and links into force, in the order in which each
// step leaves the machine guarded at least as well as before.
func (r *Redirect) load(pins string, root *os.File) error {
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("lift the memory lock limit: %w", err)
	}
	if err := loadObjects(pins, &r.objects, false); err != nil {
		return err
	}
	r.loadTracing()
	if err := r.readRecords(); err != nil {
		return err
	}
	if err := r.isFirst(); err != nil {
		return err
	}
	if err := r.forgetNamespaces(); err != nil {
		return err
	}
	if err := r.addPorts(nil); err != nil {
		return err
	}
	if err := r.findExempt(); err != nil {
		return err
	}
	if err := r.beat(0); err != nil {
		return err
	}
	if err := r.attach(root); err != nil {
		return err
	}
	return r.beat(monotonic())
}

// attach puts every program in force, in the place of what is there.
func (r *Redirect) attach(root *os.File) error {
	pins := r.pins.Name()
	links, err := attachAll(pins, root, &r.objects.redirectPrograms)
	r.links = links
	if err != nil {
		return err
	}
	r.guard = newLinkGuard(pins, &r.objects.redirectPrograms, r.raise, r.log)
	r.trace()
	return r.guard.coverAll()
}

// CgroupRoot returns where the root of cgroup v2, to which the programs are
// attached, is mounted. The cgroup ids of an Origin are found below it. It is
// empty on a host with cgroup v1 alone, where every id is the root's.
func (r *Redirect) CgroupRoot() string { return r.cgroups }

// Close closes the listeners and lets go of programs and maps. Both stay
// pinned: from now on protected destinations are refused. Run must have ended.
func (r *Redirect) Close() error {
	var errs []error
	r.close.Do(func() {
		close(r.done)
		if r.objects.AgentControl != nil {
			errs = append(errs, r.beat(0))
		}
		r.leaveAll()
		for _, l := range r.links {
			errs = append(errs, l.Close())
		}
		if r.tracing != nil {
			errs = append(errs, r.tracing.close())
		}
		if r.objects.AgentControl != nil {
			errs = append(errs, r.objects.Close())
		}
		if r.records != nil {
			errs = append(errs, r.records.Close())
		}
		errs = append(errs, r.pins.Close())
	})
	return errors.Join(errs...)
}

// beat tells the programs that the agent lives, as of now; 0 says it does not.
func (r *Redirect) beat(now uint64) error {
	state := redirectControl{HeartbeatNs: now, ListenerPort: networkOrder(r.port)}
	if err := r.objects.AgentControl.Put(uint32(0), state); err != nil {
		return fmt.Errorf("write heartbeat: %w", err)
	}
	return nil
}

// monotonic is CLOCK_MONOTONIC in nanoseconds, as bpf_ktime_get_ns counts.
func monotonic() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail: the clock exists and now is ours
	return uint64(now.Nano())
}

// bootTime is the wall-clock time at which CLOCK_BOOTTIME was zero.
func bootTime() time.Time {
	var up unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) // cannot fail, as above
	return time.Now().Add(-time.Duration(up.Nano()))
}

// reset closes a connection in a way that no peer takes for a complete answer.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // if it fails, the close below is still a close
	_ = conn.Close()
}
