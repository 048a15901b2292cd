package redirect_test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	tasksPerRound = 100
	taskRounds    = 20
)

// BenchmarkTasks measures how long the programs run that see a task begin and
// execute something, for a child of this process that executes a small program. The kernel's clock is taken off, as in
// BenchmarkPrograms. What a child takes whole is reported beside it.
func BenchmarkTasks(b *testing.B) {
	l := newNetwork(b)
	defer l.openForTurn(b, nil)()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(b, err)
	defer func() { must(b, stats.Close()) }()
	b.ReportMetric(0, "ns/op")

	empty := attachEmpty(b, l.agent)
	before := l.programStats(b)
	began := time.Now()
	for range taskRounds {
		for range tasksPerRound {
			must(b, exec.Command("true").Run())
		}
	}
	took := time.Since(began)
	for range 64 { // the clock's own share, with a connect that meets the empty program
		_ = connectAndReset(sockaddr(unix.AF_INET, l.server4))
	}
	nothing, err := empty.Stats()
	must(b, err)
	clock := float64(nothing.Runtime) / float64(max(1, nothing.RunCount))
	b.ReportMetric(clock, "clock-ns")
	b.ReportMetric(float64(took)/(taskRounds*tasksPerRound), "child-ns")
	after := l.programStats(b)
	for _, name := range []string{"lineage_fork", "lineage_exec"} {
		runs := float64(after[name].RunCount - before[name].RunCount)
		b.ReportMetric(float64(after[name].Runtime-before[name].Runtime)/runs-clock, name+"-ns")
	}
}
