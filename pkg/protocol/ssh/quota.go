package ssh

import "sync"

// quota counts what each workload has open, so that one that opens channels
// without end hurts only itself. A workload is told by its network namespace.
type quota struct {
	limit int

	mu   sync.Mutex
	open map[uint64]int // by netns cookie; guarded by mu
}

func newQuota(limit int) *quota { return &quota{limit: limit, open: make(map[uint64]int)} }

// take reports whether the workload may open one more. If so, the caller
// gives it back.
func (q *quota) take(netns uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[netns] >= q.limit {
		return false
	}
	q.open[netns]++
	return true
}

func (q *quota) give(netns uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[netns]--; q.open[netns] == 0 {
		delete(q.open, netns)
	}
}
