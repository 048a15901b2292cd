package gitwire

import (
	"fmt"
	"sync"
)

// Room is the disk that packs may take while they wait, shared by all runs: so
// much for each workload, so that one that pushes without end is refused by
// itself, and so much for all.
type Room struct {
	each, all int64

	mu    sync.Mutex
	taken map[uint64]int64 // by workload; guarded by mu
	total int64            // guarded by mu
}

// NewRoom returns a room of so many bytes.
func NewRoom(each, all int64) *Room { return &Room{each: each, all: all, taken: map[uint64]int64{}} }

// share is what one run has of a room. A nil share is one without bounds.
type share struct {
	room     *Room
	workload uint64
	bytes    int64
}

// grow takes n bytes more.
func (s *share) grow(n int64) error {
	if s == nil {
		return nil
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[s.workload]+n > r.each || r.total+n > r.all {
		return fmt.Errorf("with others that wait, the pack: %w", errLimit)
	}
	r.taken[s.workload] += n
	r.total += n
	s.bytes += n
	return nil
}

// end gives back what was taken.
func (s *share) end() {
	if s == nil {
		return
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total -= s.bytes
	if r.taken[s.workload] -= s.bytes; r.taken[s.workload] == 0 {
		delete(r.taken, s.workload)
	}
	s.bytes = 0
}
