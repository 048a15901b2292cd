package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/sluicegate/sluice/pkg/failpoint"
)

// Read returns the first entry at or after from, and false when there is none
// yet. What cannot be read was reported by Open and is skipped.
func (s *Spool) Read(from Position) (entry Entry, ok bool, err error) {
	return s.ReadTo(new([]byte), from)
}

// ReadTo is Read for whoever reads many entries: it appends the entry's bytes to
// buffer, where they are the caller's.
func (s *Spool) ReadTo(buffer *[]byte, from Position) (entry Entry, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.failed, os.ErrClosed) {
		return Entry{}, false, fmt.Errorf("read spool: %w", s.failed)
	}
	for _, seg := range s.segments {
		if seg.number < from.segment() {
			continue
		}
		offset := uint32(segmentHead)
		if seg.number == from.segment() {
			offset = max(offset, from.offset())
		}
		for _, g := range seg.gaps {
			if offset >= g.from && offset < g.to {
				offset = g.to
			}
		}
		if offset >= seg.used {
			continue
		}
		entry, err := seg.read(buffer, offset)
		if err != nil {
			return Entry{}, false, fmt.Errorf("read spool: %w", err)
		}
		return entry, true, nil
	}
	return Entry{}, false, nil
}

// read appends the entry at offset, which scan or append found to be whole, to
// buffer.
func (seg *segment) read(buffer *[]byte, offset uint32) (entry Entry, err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if caught := recover(); caught != nil {
			err = faultError(caught)
		}
	}()
	kind, head, rest, ok := seg.entryAt(offset)
	if !ok {
		return Entry{}, fmt.Errorf("the entry at %d of segment %d has changed since it was written", offset, seg.number)
	}
	size := uint32(entrySize(len(head) + len(rest)))
	start := len(*buffer)
	*buffer = append(append(*buffer, head...), rest...)
	own := (*buffer)[start:len(*buffer):len(*buffer)]
	return Entry{
		Position: at(seg.number, offset),
		Next:     at(seg.number, offset+size),
		Kind:     kind,
		Head:     own[:len(head):len(head)],
		Rest:     own[len(head):],
	}, nil
}

// Free gives up the entries before upTo, whole segments at a time. Only its
// owner knows that they are safe elsewhere.
func (s *Spool) Free(upTo Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.syncing {
		s.turn.Wait()
	}
	freed := 0
	for freed < len(s.segments) && s.segments[freed].number < upTo.segment() && s.segments[freed] != s.current {
		if len(s.segments) == 1 && s.current == nil {
			break // the newest stays, to show that none is missing
		}
		seg := s.segments[freed]
		if err := os.Remove(filepath.Join(s.cfg.Dir, segmentName(seg.number))); err != nil {
			return fmt.Errorf("free spool: %w", err)
		}
		failpoint.Here("spool.freed")
		freed++
		s.taken -= int64(len(seg.data))
		if err := seg.close(); err != nil {
			s.segments = s.segments[freed:]
			return fmt.Errorf("free spool: %w", err)
		}
	}
	if freed == 0 {
		return nil
	}
	s.segments = append(s.segments[:0:0], s.segments[freed:]...)
	if err := syncDir(s.cfg.Dir); err != nil {
		return fmt.Errorf("free spool: %w", err)
	}
	return nil
}

// SetState replaces the owner's state, all or nothing, on stable storage.
func (s *Spool) SetState(state []byte) error {
	if err := writeSummed(s.cfg.Dir, "state", state); err != nil {
		return fmt.Errorf("write spool state: %w", err)
	}
	return nil
}

// State returns what SetState wrote last, nil when there is none or it is
// altered; then the damage is reported too.
func (s *Spool) State() ([]byte, *Damage, error) {
	state, ok, err := readSummed(filepath.Join(s.cfg.Dir, "state"))
	if err != nil {
		return nil, nil, fmt.Errorf("read spool state: %w", err)
	}
	if !ok {
		return nil, &Damage{Kind: AlteredState}, nil
	}
	return bytes.Clone(state), nil, nil
}
