package redirect_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	connectRounds    = 31
	connectsPerRound = 400
	programRounds    = 20
	asidePort        = 5434
)

// BenchmarkConnect measures what a connect costs over a veth pair, and how long
// it takes from the call of connect until whoever serves has the first byte:
// without programs, with programs to a destination that is not protected, and
// to one that is. The three take turns, because a machine's speed drifts. Of each
// turn the fastest tenth counts, which nothing disturbed, and of all turns the
// median.
func BenchmarkConnect(b *testing.B) {
	l := newNetwork(b)
	arrived := make(chan time.Time)
	aside := netip.AddrPortFrom(l.server4.Addr(), asidePort)
	l.serveFirstBytes(b, aside, arrived)
	var none, unprotected, protected turns
	for range connectRounds {
		none.take(b, l, aside, arrived)
		end := l.openForTurn(b, arrived)
		unprotected.take(b, l, aside, arrived)
		protected.take(b, l, l.server4, arrived)
		end()
	}
	b.ReportMetric(0, "ns/op") // of all turns together: it says nothing
	b.ReportMetric(median(none.connect), "none-ns")
	b.ReportMetric(median(beyond(unprotected.connect, none.connect)), "unprotected-added-ns")
	b.ReportMetric(median(beyond(protected.connect, none.connect)), "protected-added-ns")
	b.ReportMetric(median(none.firstByte), "firstbyte-none-ns")
	b.ReportMetric(median(beyond(protected.firstByte, none.firstByte)), "firstbyte-added-ns")
}

// BenchmarkPrograms measures how long each program runs, and how often, for one
// connect that is not protected, both ends of it. The kernel's clock around each
// run is part of what it measures; what it makes of a program that does nothing,
// beside the others, is taken off.
func BenchmarkPrograms(b *testing.B) {
	l := newNetwork(b)
	arrived := make(chan time.Time)
	aside := netip.AddrPortFrom(l.server4.Addr(), asidePort)
	l.serveFirstBytes(b, aside, arrived)
	defer l.openForTurn(b, arrived)()
	var unprotected turns
	unprotected.take(b, l, aside, arrived) // warm

	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(b, err)
	defer func() { must(b, stats.Close()) }()
	empty := attachEmpty(b, l.agent)
	before := l.programStats(b)
	for range programRounds {
		unprotected.take(b, l, aside, arrived)
	}
	b.ReportMetric(0, "ns/op")
	nothing, err := empty.Stats()
	must(b, err)
	clock := float64(nothing.Runtime) / float64(nothing.RunCount)
	b.ReportMetric(clock, "clock-ns")
	var sum float64
	for name, after := range l.programStats(b) {
		runs := float64(after.RunCount-before[name].RunCount) / (programRounds * connectsPerRound)
		runtime := float64(after.Runtime-before[name].Runtime)/(programRounds*connectsPerRound) - runs*clock
		if runs > 0.5 {
			b.ReportMetric(runtime, name+"-ns")
			b.ReportMetric(runs, name+"-runs")
		}
		sum += runtime
	}
	b.ReportMetric(sum, "programs-ns")
}

// linkPins are those of all programs that a connect meets.
func (l *lab) linkPins(b *testing.B) []string {
	b.Helper()
	hooks, err := filepath.Glob(filepath.Join(l.pins, "links", "*"))
	must(b, err)
	tracers, err := filepath.Glob(filepath.Join(l.pins, "lineage", "*"))
	must(b, err)
	return append(hooks, tracers...)
}

func (l *lab) programStats(b *testing.B) map[string]*ebpf.ProgramStats {
	b.Helper()
	stats := make(map[string]*ebpf.ProgramStats)
	for _, pin := range l.linkPins(b) {
		attached, err := link.LoadPinnedLink(pin, nil)
		must(b, err)
		info, err := attached.Info()
		must(b, errors.Join(err, attached.Close()))
		program, err := ebpf.NewProgramFromID(info.Program)
		must(b, err)
		stats[filepath.Base(pin)], err = program.Stats()
		must(b, errors.Join(err, program.Close()))
	}
	return stats
}

// turns holds one time for each turn, in nanoseconds.
type turns struct{ connect, firstByte []float64 }

// take connects again and again, and sends a byte as soon as it may.
func (s *turns) take(b *testing.B, l *lab, to netip.AddrPort, arrived <-chan time.Time) {
	b.Helper()
	peer := sockaddr(unix.AF_INET, to)
	var connect, firstByte []float64
	must(b, l.job.Do(func() error {
		defer undisturbed(b)()
		for range connectsPerRound {
			began, connected, err := connectAndSend(peer)
			if err != nil {
				return err
			}
			connect = append(connect, float64(connected.Sub(began)))
			firstByte = append(firstByte, float64((<-arrived).Sub(began)))
		}
		return nil
	}))
	s.connect = append(s.connect, fastest(connect))
	s.firstByte = append(s.firstByte, fastest(firstByte))
}

// undisturbed keeps other programs off this thread's CPU. A handshake over a
// veth pair runs whole on the CPU of whoever connects.
func undisturbed(b *testing.B) (end func()) {
	b.Helper()
	first := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	must(b, unix.SchedSetAttr(0, first, 0))
	return func() {
		must(b, unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0))
	}
}

func connectAndSend(to unix.Sockaddr) (began, connected time.Time, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return began, connected, err
	}
	defer func() { _ = unix.Close(fd) }()
	began = time.Now()
	if err := unix.Connect(fd, to); err != nil {
		return began, connected, err
	}
	connected = time.Now()
	_, err = unix.Write(fd, []byte{1})
	return began, connected, err
}

// connectAndReset leaves no socket in TIME_WAIT: ports would run out.
func connectAndReset(to unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // reset, whatever it says
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	return unix.Connect(fd, to)
}

// serveFirstBytes says when the first byte of each connection is there.
func (l *lab) serveFirstBytes(b *testing.B, at netip.AddrPort, arrived chan<- time.Time) {
	b.Helper()
	must(b, l.server.Do(func() error {
		listener, err := net.Listen("tcp", at.String())
		if err != nil {
			return err
		}
		b.Cleanup(func() { _ = listener.Close() })
		go func() {
			for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
				sayFirstByte(conn, arrived)
			}
		}()
		return nil
	}))
}

// openForTurn starts an agent that does the same. The function that it returns
// ends the agent and removes its programs.
func (l *lab) openForTurn(b *testing.B, arrived chan<- time.Time) (end func()) {
	b.Helper()
	l.pins = filepath.Join(b.TempDir(), "pins")
	agent, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zap.NewNop())
	must(b, err)
	l.agent = agent
	must(b, agent.Protect(l.destinations()))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	go func() {
		for a, err := agent.Accept(ctx); err == nil; a, err = agent.Accept(ctx) {
			sayFirstByte(a.Conn, arrived)
		}
	}()
	return func() {
		cancel()
		must(b, <-ended)
		must(b, agent.Close())
		must(b, redirect.Uninstall(l.pins))
	}
}

// sayFirstByte resets the connection afterwards: ports would run out in
// TIME_WAIT.
func sayFirstByte(conn net.Conn, arrived chan<- time.Time) {
	defer func() { _ = conn.Close() }()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return
	}
	at := time.Now()
	_ = conn.(*net.TCPConn).SetLinger(0) // a benchmark outlives some TIME_WAIT
	arrived <- at
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }

// fastest is the slowest of the fastest tenth.
func fastest(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/10] }

// beyond pairs the turns: the machine was as fast during both of a pair.
func beyond(ours, theirs []float64) (more []float64) {
	for i := range ours {
		more = append(more, ours[i]-theirs[i])
	}
	return more
}
