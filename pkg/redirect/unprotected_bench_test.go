package redirect_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	unprotectedPairs = 5000 // pairs of a turn without programs and one with them
	connectsPerTurn  = 30
	warmConnects     = 3 // of a turn, which do not count: attaching patches the kernel's text
)

// BenchmarkUnprotected bounds what a connect(2) that is not protected costs more
// with the programs: to a port that no destination has, and, at its dearest, to
// the port of 10,000 destinations that lie around its address. A machine drifts
// by more than that within a second, so a pair of turns takes two milliseconds,
// in a random order, and there are thousands. Of a turn the median counts, and of
// the pairs' differences the median, with the interval that holds it with a
// probability of 95 %, whatever their distribution. Both ends are on this
// machine, and in it.
//
// The programs are an agent's own, attached and detached whole. The agent has
// ended, which they do not ask about here.
func BenchmarkUnprotected(b *testing.B) {
	l := newNetwork(b)
	b.ReportMetric(0, "ns/op") // of all turns together: it says nothing
	l.reportUnprotected(b, "other-port", netip.AddrPortFrom(l.server4.Addr(), asidePort), l.destinations())
	l.reportUnprotected(b, "same-port-10000", netip.AddrPortFrom(l.between(b), protectedPort), l.beside(10000))
}

func (l *lab) reportUnprotected(b *testing.B, name string, to netip.AddrPort, ds []redirect.Destination) {
	b.Helper()
	listener := l.listenAside(b, to)
	programs := l.programsOnly(b, ds)
	var without, more []float64
	must(b, l.job.Do(func() (err error) {
		defer undisturbed(b)()
		without, more, err = programs.turns(to, listener)
		return err
	}))
	low, middle, high := medianWithin(more)
	b.ReportMetric(median(without), name+"-none-ns")
	b.ReportMetric(low, name+"-added-low-ns")
	b.ReportMetric(middle, name+"-added-ns")
	b.ReportMetric(high, name+"-added-high-ns")
}

// medianWithin returns the median and, by order, between what it lies with a
// probability of 95 %.
func medianWithin(of []float64) (low, middle, high float64) {
	sorted := slices.Sorted(slices.Values(of))
	n := float64(len(sorted))
	aside := int(math.Ceil(1.96 * math.Sqrt(n) / 2))
	return sorted[len(sorted)/2-aside], sorted[len(sorted)/2], sorted[len(sorted)/2+aside]
}

// detached are programs that are not attached, and where they belong.
type detached struct {
	root     *os.File
	programs []*ebpf.Program
	attach   []ebpf.AttachType
}

// programsOnly takes an agent's programs over, with its maps as they were while
// it guarded destinations.
func (l *lab) programsOnly(b *testing.B, ds []redirect.Destination) *detached {
	b.Helper()
	end := l.openForTurn(b, nil)
	must(b, l.agent.Protect(ds))
	root, err := os.Open(l.agent.CgroupRoot())
	must(b, err)
	closeLater(b, root.Close)
	d := &detached{root: root}
	pins, err := filepath.Glob(filepath.Join(l.pins, "links", "*"))
	must(b, err)
	for _, pin := range pins {
		attached, err := link.LoadPinnedLink(pin, nil)
		must(b, err)
		info, err := attached.Info()
		must(b, errors.Join(err, attached.Close()))
		program, err := ebpf.NewProgramFromID(info.Program)
		must(b, err)
		closeLater(b, program.Close)
		d.programs = append(d.programs, program)
		d.attach = append(d.attach, ebpf.AttachType(info.Cgroup().AttachType))
	}
	end()
	return d
}

// turns returns what connects take without the programs, and how much more with
// them, a number for each pair of turns.
func (d *detached) turns(to netip.AddrPort, listener int) (without, more []float64, err error) {
	family := familyOf(to)
	peer := sockaddr(family, to)
	for range unprotectedPairs {
		var took [2]float64 // without, with
		first := rand.N(2)
		for _, with := range []int{first, 1 - first} {
			if took[with], err = d.turn(with == 1, family, peer, listener); err != nil {
				return nil, nil, err
			}
		}
		without = append(without, took[0])
		more = append(more, took[1]-took[0])
	}
	return without, more, nil
}

// turn connects with or without the programs, and returns the median.
func (d *detached) turn(with bool, family int, peer unix.Sockaddr, listener int) (_ float64, err error) {
	if with {
		end, err := d.attachAll()
		if err != nil {
			return 0, errors.Join(err, end())
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	var times []float64
	for i := range warmConnects + connectsPerTurn {
		took, err := connectTime(family, peer)
		if err != nil {
			return 0, err
		}
		if i >= warmConnects {
			times = append(times, took)
		}
	}
	return median(times), drain(listener)
}

func (d *detached) attachAll() (end func() error, err error) {
	var links []link.Link
	end = func() error {
		var errs []error
		for _, l := range links {
			errs = append(errs, l.Close())
		}
		return errors.Join(errs...)
	}
	for i, program := range d.programs {
		l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(d.root.Fd()), Program: program, Attach: d.attach[i]})
		if err != nil {
			return end, err
		}
		links = append(links, l)
	}
	return end, nil
}

// connectTime is how long connect(2) takes, in nanoseconds. The connection is
// reset, so that none waits for its port.
func connectTime(family int, peer unix.Sockaddr) (float64, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return 0, err
	}
	began := time.Now()
	err = unix.Connect(fd, peer)
	return float64(time.Since(began)), err
}

// listenAside listens without anybody who accepts: no other thread wakes.
func (l *lab) listenAside(b *testing.B, at netip.AddrPort) (fd int) {
	b.Helper()
	must(b, l.server.Do(func() (err error) {
		family := familyOf(at)
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		b.Cleanup(func() { _ = unix.Close(fd) })
		return errors.Join(unix.Bind(fd, sockaddr(family, at)), unix.Listen(fd, 4*connectsPerTurn))
	}))
	return fd
}

func familyOf(at netip.AddrPort) int {
	if at.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// drain takes what was reset out of the backlog.
func drain(listener int) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
}

// emptyProgram does nothing: what the kernel says that it takes is its clock's.
func emptyProgram(b *testing.B) *ebpf.Program {
	b.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	must(b, err)
	closeLater(b, program.Close)
	return program
}

// attachEmpty attaches a program that does nothing where connects are.
func attachEmpty(b *testing.B, agent *redirect.Redirect) *ebpf.Program {
	b.Helper()
	root, err := os.Open(agent.CgroupRoot())
	must(b, err)
	closeLater(b, root.Close)
	program := emptyProgram(b)
	attached, err := link.AttachRawLink(link.RawLinkOptions{Target: int(root.Fd()), Program: program, Attach: ebpf.AttachCGroupInet4Connect})
	must(b, err)
	closeLater(b, attached.Close)
	return program
}
