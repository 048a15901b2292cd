package gitwire

import (
	"fmt"
	"sync"
)

// What runs may have in memory at once of what clients have them keep: commands,
// histories, names, the beginnings of packs. What it costs is estimated, and
// nobody is asked for less than reserved at once.
const (
	workloadMemory = 96 << 20
	allMemory      = 256 << 20
	reserved       = 64 << 10
)

// Room is the disk that packs may take while they wait, and the memory of runs,
// shared by all of them: so much for each workload, so that one that pushes
// without end is refused by itself, and so much for all. It also has the turns in
// which packs are read.
type Room struct {
	disk, memory pool
	turns        turns
}

// NewRoom returns a room of so many bytes of disk.
func NewRoom(each, all int64) *Room {
	return &Room{
		disk:   pool{each: each, all: all, taken: map[uint64]int64{}},
		memory: pool{each: workloadMemory, all: allMemory, taken: map[uint64]int64{}},
		turns:  turns{of: map[uint64]*line{}},
	}
}

// pool is what there is of one thing.
type pool struct {
	each, all int64

	mu    sync.Mutex
	taken map[uint64]int64 // by workload; guarded by mu
	total int64            // guarded by mu
}

// take reports whether a workload may have n more.
func (p *pool) take(workload uint64, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[workload]+n > p.each || p.total+n > p.all {
		return false
	}
	p.taken[workload] += n
	p.total += n
	return true
}

func (p *pool) give(workload uint64, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total -= n
	if p.taken[workload] -= n; p.taken[workload] == 0 {
		delete(p.taken, workload)
	}
}

// share is what one run, or a part of it, has of a room. A nil share is one
// without bounds.
type share struct {
	room         *Room
	workload     uint64
	disk, memory int64
	spare        int64 // of memory, that was taken ahead
}

// apart is another share of the same room and workload, which ends by itself.
func (s *share) apart() *share {
	if s == nil {
		return nil
	}
	return &share{room: s.room, workload: s.workload}
}

// grow takes n bytes more of the disk.
func (s *share) grow(n int64) error {
	if s == nil {
		return nil
	}
	if !s.room.disk.take(s.workload, n) {
		return fmt.Errorf("with others that wait, the pack: %w", errLimit)
	}
	s.disk += n
	return nil
}

// keep takes n bytes more of the memory, and reports whether there were any.
func (s *share) keep(n int64) bool {
	if s == nil || n <= s.spare {
		if s != nil {
			s.spare -= n
		}
		return true
	}
	more := max(n-s.spare, reserved)
	if !s.room.memory.take(s.workload, more) {
		return false
	}
	s.memory += more
	s.spare += more - n
	return true
}

// free lets n bytes of the memory be used again.
func (s *share) free(n int64) {
	if s != nil {
		s.spare += n
	}
}

// forget gives back the memory.
func (s *share) forget() {
	if s == nil {
		return
	}
	s.room.memory.give(s.workload, s.memory)
	s.memory, s.spare = 0, 0
}

// end gives back what was taken.
func (s *share) end() {
	if s == nil {
		return
	}
	s.forget()
	s.room.disk.give(s.workload, s.disk)
	s.disk = 0
}
