package gitwire

import (
	"fmt"

	"github.com/sluicegate/sluice/pkg/protocol"
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
	disk, memory *protocol.Pool
	turns        turns
}

// NewRoom returns a room of so many bytes of disk.
func NewRoom(each, all int64) *Room {
	return &Room{
		disk:   protocol.NewPool(each, all),
		memory: protocol.NewPool(workloadMemory, allMemory),
		turns:  turns{of: map[uint64]*line{}},
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
	if !s.room.disk.Take(s.workload, n) {
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
	if !s.room.memory.Take(s.workload, more) {
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
	s.room.memory.Give(s.workload, s.memory)
	s.memory, s.spare = 0, 0
}

// end gives back what was taken.
func (s *share) end() {
	if s == nil {
		return
	}
	s.forget()
	s.room.disk.Give(s.workload, s.disk)
	s.disk = 0
}
