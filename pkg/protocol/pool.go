package protocol

import "sync"

// Pool is what there is of one thing, such as memory or places: so much for each
// workload, so that one that takes without end is refused by itself, and so much
// for all. A workload is told by its network namespace's cookie. It is safe for
// concurrent use.
type Pool struct {
	each, all int64

	mu    sync.Mutex
	taken map[uint64]int64 // by workload; guarded by mu
	total int64            // guarded by mu
}

// NewPool returns a pool of which nothing is taken.
func NewPool(each, all int64) *Pool {
	return &Pool{each: each, all: all, taken: make(map[uint64]int64)}
}

// Take reports whether a workload may have n more. If so, it is given back.
func (p *Pool) Take(workload uint64, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[workload]+n > p.each || p.total+n > p.all {
		return false
	}
	p.taken[workload] += n
	p.total += n
	return true
}

// Give gives back n of what a workload took.
func (p *Pool) Give(workload uint64, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total -= n
	if p.taken[workload] -= n; p.taken[workload] <= 0 {
		delete(p.taken, workload)
	}
}

// Taken is how much all workloads have.
func (p *Pool) Taken() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}
