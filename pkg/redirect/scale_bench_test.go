package redirect_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

const (
	packetRounds    = 15
	packetsPerRound = 2000
	manyNamespaces  = 500
)

// BenchmarkPackets measures what one datagram costs more with the programs than
// without: to a port that no destination has, and to the port of 2, 1,000 and
// 10,000 destinations, half of them below and half above the one that is meant.
func BenchmarkPackets(b *testing.B) {
	l := newNetwork(b)
	to := l.between(b)
	numbers := []int{2, 1000, 10000}
	other := make([][]float64, len(numbers))
	var none, apart []float64
	var protect time.Duration
	for range packetRounds {
		before := l.sendTime(b, to, openPort)
		none = append(none, before)
		end := l.openForTurn(b, nil)
		apart = append(apart, l.sendTime(b, to, openPort)-before)
		for i, n := range numbers {
			began := time.Now()
			must(b, l.agent.Protect(l.beside(n)))
			protect = time.Since(began) // the last is the largest
			other[i] = append(other[i], l.sendTime(b, to, protectedPort)-before)
		}
		end()
	}
	b.ReportMetric(0, "ns/op") // of all rounds together: it says nothing
	b.ReportMetric(median(none), "none-ns")
	b.ReportMetric(median(apart), "other-port-added-ns")
	for i, n := range numbers {
		b.ReportMetric(median(other[i]), fmt.Sprintf("same-port-%d-added-ns", n))
	}
	b.ReportMetric(float64(protect.Milliseconds()), "protect-10000-ms")
}

// between is an address of the server with destinations on both sides, so that
// the look-up goes as deep as it can.
func (l *lab) between(b *testing.B) netip.Addr {
	b.Helper()
	addr := l.numbered(10001)
	cmd := exec.Command("ip", "-6", "addr", "add", addr.String()+"/64", "dev", "eth0", "nodad")
	must(b, l.server.Start(cmd))
	must(b, cmd.Wait())
	return addr
}

// beside is n destinations that nobody has.
func (l *lab) beside(n int) (ds []redirect.Destination) {
	for i := range n {
		ds = append(ds, redirect.Destination{Prefix: netip.PrefixFrom(l.numbered(10000-n+2*i), 128), Port: protectedPort})
	}
	return ds
}

// numbered is an address of the slice far above those of the lab.
func (l *lab) numbered(n int) netip.Addr {
	addr := l.slice.V6.Addr().As16()
	binary.BigEndian.PutUint32(addr[12:], uint32(1<<16+n))
	return netip.AddrFrom16(addr)
}

// sendTime is how long a datagram to the server takes in the sender.
func (l *lab) sendTime(b *testing.B, at netip.Addr, port uint16) float64 {
	b.Helper()
	fd := socketIn(b, l.job, unix.AF_INET6, unix.SOCK_DGRAM, 0)
	to := sockaddr(unix.AF_INET6, netip.AddrPortFrom(at, port))
	var times []float64
	must(b, l.job.Do(func() error {
		defer undisturbed(b)()
		for range packetsPerRound {
			began := time.Now()
			if err := unix.Sendto(fd, []byte("x"), 0, to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				return err
			}
			times = append(times, float64(time.Since(began)))
		}
		return nil
	}))
	return fastest(times)
}

// BenchmarkNamespaces measures what 500 containers cost the agent.
func BenchmarkNamespaces(b *testing.B) {
	l := newLab(b)
	_, err := dialFrom(b, l.job, "tcp4", l.server4) // served: so the agent watches by now
	must(b, err)
	l.accept(b)
	fds, bytes := ownUse(b)
	began := time.Now()
	for range manyNamespaces {
		ns := newNamespace(b)
		cgroup, err := netlab.NewCgroup("redirect")
		must(b, err)
		closeLater(b, cgroup.Close)
		cmd := exec.Command("sleep", "infinity")
		cgroup.Enter(cmd)
		must(b, ns.Start(cmd))
		b.Cleanup(func() { must(b, cmd.Process.Kill()); _ = cmd.Wait() })
	}
	made := time.Since(began)
	deadline := time.Now().Add(time.Minute)
	for l.listening(b) < manyNamespaces {
		if time.Now().After(deadline) {
			b.Fatalf("the agent listens in %d namespaces, want %d", l.listening(b), manyNamespaces)
		}
		runtime.Gosched()
	}
	all := time.Since(began)
	fdsAfter, bytesAfter := ownUse(b)
	b.ReportMetric(0, "ns/op")
	// The benchmark itself holds three: namespace, cgroup and process.
	b.ReportMetric(float64(fdsAfter-fds)/manyNamespaces-3, "descriptors/namespace")
	b.ReportMetric(float64(bytesAfter-bytes)/manyNamespaces, "bytes/namespace")
	b.ReportMetric(float64(made.Milliseconds()), "made-ms")
	b.ReportMetric(float64(all.Milliseconds()), "listening-ms")
}

// listening is in how many namespaces the agent listens.
func (l *lab) listening(b *testing.B) (n int) {
	b.Helper()
	namespaces, err := ebpf.LoadPinnedMap(filepath.Join(l.pins, "maps", "namespaces"), nil)
	must(b, err)
	defer func() { must(b, namespaces.Close()) }()
	var cookie uint64
	var value []byte
	entries := namespaces.Iterate()
	for entries.Next(&cookie, &value) {
		if value[8] > 1 { // struct netns: listeners beside NETNS_ENROLLED
			n++
		}
	}
	must(b, entries.Err())
	return n
}

// ownUse is how many descriptors and how much memory this process uses.
func ownUse(b *testing.B) (descriptors int, bytes uint64) {
	b.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	must(b, err)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return len(open), memory.HeapInuse + memory.StackInuse
}
