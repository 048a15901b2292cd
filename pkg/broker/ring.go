package broker

import "sync"

// ringSize is how many processes are remembered: more than connections wait
// for somebody to ask who opened them.
const ringSize = 8192

// ring is the processes whose connections a proxy was handed last. It may ask
// about these and about no other.
type ring struct {
	mu     sync.Mutex
	places [ringSize]process // guarded by mu
	next   int               // guarded by mu
	times  map[process]int   // in how many places each stands; guarded by mu
}

func newRing() *ring { return &ring{times: make(map[process]int)} }

func (r *ring) add(p process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.places[r.next]; r.times[old] > 1 {
		r.times[old]--
	} else {
		delete(r.times, old)
	}
	r.places[r.next] = p
	r.times[p]++
	r.next = (r.next + 1) % ringSize
}

func (r *ring) has(p process) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times[p] > 0 && p != process{}
}
