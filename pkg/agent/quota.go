package agent

import "sync"

// Bounds of one workload, so that a job that opens connections or waits for
// people without end hurts only itself.
const (
	maxSessions = 256
	maxHolds    = 32
	maxLooks    = 2
)

// quota counts what each workload has open. A workload is told by its network
// namespace, which the kernel attests and a job cannot multiply without losing
// its network.
type quota struct {
	limit int

	mu   sync.Mutex
	open map[uint64]int // by netns cookie; guarded by mu
}

func newQuota(limit int) *quota { return &quota{limit: limit, open: make(map[uint64]int)} }

// take reports whether the workload may open one more. If it may, the caller
// calls release exactly once.
func (q *quota) take(netns uint64) (release func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[netns] >= q.limit {
		return nil, false
	}
	q.open[netns]++
	return func() { q.give(netns) }, true
}

func (q *quota) give(netns uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[netns]--; q.open[netns] == 0 {
		delete(q.open, netns)
	}
}
