package httpproxy

import "sync"

// TakePlace takes one of the places that a workload has for requests, for
// something else that is under way inside of one. It reports whether there was
// one; GivePlace gives it back.
func (s *Session) TakePlace() bool { return s.engine.requests.take(s.netns(), 1) }

// GivePlace gives back what TakePlace took.
func (s *Session) GivePlace() { s.engine.requests.give(s.netns(), 1) }

// room is memory that requests and answers may take while they are held whole,
// and how many requests may be under way: so much for each workload, so that one
// that asks without end is refused by itself, and so much for all. A workload is
// told by its network namespace.
type room struct {
	each, all int64

	mu    sync.Mutex
	taken map[uint64]int64 // by netns cookie; guarded by mu
	total int64            // guarded by mu
}

func newRoom(each, all int64) *room {
	return &room{each: each, all: all, taken: make(map[uint64]int64)}
}

// take reports whether the workload may have n more. If so, it is given back.
func (r *room) take(netns uint64, n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[netns]+n > r.each || r.total+n > r.all {
		return false
	}
	r.taken[netns] += n
	r.total += n
	return true
}

func (r *room) give(netns uint64, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total -= n
	if r.taken[netns] -= n; r.taken[netns] <= 0 {
		delete(r.taken, netns)
	}
}
