package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/failpoint"
)

// spare is the segment that is made before it is needed, so that no append
// waits for the disk to reserve it.
type spare struct {
	segment *segment
	coming  bool // a goroutine is making it
}

// Append copies an entry into the spool. When it returns nil the entry
// survives the death of this process; after a Sync of its position it survives
// a power loss. kind must not be 0. The error is ErrFull when there is no
// room, and anything else when the spool has failed for good.
func (s *Spool) Append(kind Kind, head, rest []byte) (Position, error) {
	return s.append(kind, head, rest, s.cfg.Limit-reserved*s.cfg.Segment)
}

// AppendReserved is Append for what its owner must write so that something can
// be freed. It may use the last segments, which Append leaves alone.
func (s *Spool) AppendReserved(kind Kind, head, rest []byte) (Position, error) {
	return s.append(kind, head, rest, s.cfg.Limit)
}

// reserved is how many segments Append leaves to AppendReserved.
const reserved = 2

func (s *Spool) append(kind Kind, head, rest []byte, limit int64) (Position, error) {
	n := len(head) + len(rest)
	if kind == 0 || segmentHead+entrySize(n) > s.cfg.Segment {
		return 0, fmt.Errorf("append to spool: an entry of kind %d and %d bytes does not work", kind, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeRoom(n, limit); err != nil {
		return 0, fmt.Errorf("append to spool: %w", err)
	}
	position := at(s.current.number, s.current.used)
	if err := s.current.append(kind, head, rest); err != nil {
		s.fail(err)
		return 0, fmt.Errorf("append to spool: %w", err)
	}
	if int64(s.current.used) > s.cfg.Segment/2 {
		s.prepare(limit)
	}
	return position, nil
}

// makeRoom sees to it that the current segment has room for n bytes. mu is
// held, and given up while a spare is on its way.
func (s *Spool) makeRoom(n int, limit int64) error {
	for s.failed == nil {
		if s.current != nil && s.current.room(n) {
			return nil
		}
		if s.spare.coming {
			s.turn.Wait()
			continue
		}
		if err := s.rotate(limit); err != nil {
			return err
		}
	}
	return s.failed
}

// fail ends the spool's life as a writer. mu is held.
func (s *Spool) fail(err error) {
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	s.turn.Broadcast()
}

// rotate makes the next segment the current one. mu is held.
func (s *Spool) rotate(limit int64) error {
	if s.bytes() > limit {
		return ErrFull // a spare that AppendReserved had made
	}
	seg := s.spare.segment
	s.spare.segment = nil
	if seg == nil {
		if s.bytes()+s.cfg.Segment > limit {
			return ErrFull
		}
		var err error
		if seg, err = s.makeSegment(s.next); err != nil {
			return err
		}
		s.next++
	}
	s.segments = append(s.segments, seg)
	s.taken += int64(len(seg.data))
	s.current = seg
	return nil
}

// makeSegment makes a segment and remembers that it was made.
func (s *Spool) makeSegment(number uint32) (*segment, error) {
	seg, err := createSegment(s.cfg.Dir, number, s.cfg.Segment)
	if err != nil {
		return nil, err
	}
	failpoint.Here("spool.segment.made")
	if err := s.writeLast(number); err != nil {
		name := filepath.Join(s.cfg.Dir, segmentName(number))
		return nil, errors.Join(diskError("note segment", err), seg.close(), os.Remove(name))
	}
	return seg, nil
}

// prepare begins to make a spare segment unless there is one. What goes wrong
// goes wrong again when the segment is needed, and is an error then. mu is
// held.
func (s *Spool) prepare(limit int64) {
	if s.spare.coming || s.spare.segment != nil || s.bytes()+s.cfg.Segment > limit {
		return
	}
	number := s.next
	s.next++
	s.spare.coming = true
	s.work.Go(func() {
		seg, err := s.makeSegment(number)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.spare = spare{segment: seg}
		if err != nil && s.next == number+1 {
			s.next = number
		}
		s.turn.Broadcast()
	})
}

// Sync returns nil when the entry at position, and every one before it, is on
// stable storage. Callers that come while another is at it share the next
// fdatasync. An error is final: what the kernel failed to write once it may
// have forgotten, and a second try would lie.
func (s *Spool) Sync(position Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.synced > position {
			return nil
		}
		if s.failed != nil {
			return fmt.Errorf("sync spool: %w", s.failed)
		}
		if !s.syncing {
			break
		}
		s.turn.Wait()
	}
	if position >= s.end() {
		return errors.New("sync spool: no entry at this position")
	}
	target := s.end()
	var dirty []*segment
	for _, seg := range s.segments {
		if seg.number >= s.synced.segment() {
			dirty = append(dirty, seg)
		}
	}
	s.syncing = true
	s.mu.Unlock()
	failpoint.Here("spool.sync")
	err := syncSegments(dirty)
	failpoint.Here("spool.sync.done")
	s.mu.Lock()
	s.syncing = false
	if err != nil {
		s.fail(err)
		return fmt.Errorf("sync spool: %w", s.failed)
	}
	s.synced = target
	s.turn.Broadcast()
	return nil
}

// syncSegments makes mapped writes durable: fdatasync writes the file's dirty
// pages, however they became dirty (fsync(2), mmap(2)).
func syncSegments(segments []*segment) error {
	for _, seg := range segments {
		if err := unix.Fdatasync(int(seg.file.Fd())); err != nil {
			return err
		}
	}
	return nil
}
