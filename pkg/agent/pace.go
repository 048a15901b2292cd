package agent

import (
	"context"
	"maps"
	"runtime"
	"sync"
	"time"
)

// Bounds of how many sessions of one workload begin: a burst, then one in each
// interval for each of the node's processors. Each costs a handshake with a server,
// records and a look at who asks, whether or not its client stays: places alone do
// not bound a job that connects and leaves.
const (
	sessionEvery = 10 * time.Millisecond
	sessionBurst = maxSessions
)

// perProcessor is the interval of what each processor does once in one.
func perProcessor(interval time.Duration) time.Duration {
	return interval / time.Duration(runtime.GOMAXPROCS(0))
}

// pace spaces what each workload begins, which waits its turn: a burst at once, then
// one in each interval. A workload is told as in quota.
type pace struct {
	every time.Duration
	burst int

	mu   sync.Mutex
	next map[uint64]time.Time // when the one after those that began is due, without a burst; by netns cookie; guarded by mu
}

func newPace(every time.Duration, burst int) *pace {
	return &pace{every: every, burst: burst, next: make(map[uint64]time.Time)}
}

// maxPaced is how many workloads are remembered before those at rest are forgotten.
const maxPaced = 1024

// turn takes the workload's next turn and returns how long it is until then.
func (p *pace) turn(netns uint64, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.next) >= maxPaced {
		maps.DeleteFunc(p.next, func(_ uint64, due time.Time) bool { return !due.After(now) })
	}
	due := p.next[netns]
	if due.Before(now) {
		due = now
	}
	p.next[netns] = due.Add(p.every)
	return max(0, due.Sub(now)-time.Duration(p.burst-1)*p.every)
}

// wait waits for the workload's turn. It reports false when ctx ends first.
func (p *pace) wait(ctx context.Context, netns uint64) bool {
	until := p.turn(netns, time.Now())
	if until == 0 {
		return true
	}
	timer := time.NewTimer(until)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
