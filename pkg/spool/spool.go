// Package spool is a crash-safe queue of entries on disk.
//
// Append copies an entry into a mapped file and returns: no system call, and
// the entry survives the death of any process from then on. Sync makes it
// survive a power loss; callers that wait at once share one fdatasync. Disk
// space is reserved before it is written to, so that a full disk is an error
// of the call that needs a new segment and never a signal. After an error of
// the disk the spool accepts nothing more.
//
// Open finds torn, altered and missing entries, reports them as Damage and
// keeps what is whole; it repairs nothing and never writes to a segment that
// it did not make. The package knows nothing of what the entries mean, and
// reads nothing that anybody but its owner wrote.
package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

var (
	// ErrFull reports that the spool holds as much as it may, or that the disk
	// has no room.
	ErrFull = errors.New("the spool is full")
	// ErrFailed reports that the disk failed under the spool. What was
	// appended and not synced may be lost; nothing more is accepted.
	ErrFailed = errors.New("the spool has failed")
	// ErrLocked reports that another process has the spool open.
	ErrLocked = errors.New("the spool is in use")
)

// Config says where a spool is and how large it may become.
type Config struct {
	Dir     string // made when missing, mode 0700
	Segment int64  // bytes of one segment, a multiple of 4096; the largest entry must fit in it
	Limit   int64  // bytes of all segments together, at least four segments
}

// Kind says what an entry is. The spool only carries it.
type Kind uint8

// Position is where an entry begins. Later entries have greater positions;
// positions of a spool are never used again. The zero value is before all.
type Position uint64

func at(segment, offset uint32) Position { return Position(segment)<<32 | Position(offset) }

func (p Position) segment() uint32 { return uint32(p >> 32) }
func (p Position) offset() uint32  { return uint32(p) }

// Entry is one entry as it was read. Its bytes are the reader's.
type Entry struct {
	Position Position
	Next     Position // where reading goes on
	Kind     Kind
	Head     []byte
	Rest     []byte
}

// DamageKind sorts what Open can find.
type DamageKind string

// The kinds of damage.
const (
	TornTail       DamageKind = "torn-tail"       // an entry that was being written when the machine or the process died
	AlteredEntry   DamageKind = "altered-entry"   // an entry whose checksum does not hold, with whole ones after it
	MissingSegment DamageKind = "missing-segment" // a gap in the segments' numbers
	AlteredSegment DamageKind = "altered-segment" // a segment that cannot be read at all
	AlteredState   DamageKind = "altered-state"   // the state file's checksum does not hold
)

// Damage is one thing that Open found.
type Damage struct {
	Kind     DamageKind
	Position Position
	Bytes    int64 // that cannot be read; 0 when not known
}

// Spool is an open spool. It is safe for concurrent use.
type Spool struct {
	cfg  Config
	lock *os.File

	mu       sync.Mutex
	segments []*segment // guarded by mu; by number
	taken    int64      // guarded by mu; bytes of segments
	current  *segment   // guarded by mu; the last of segments, or nil before the first append
	next     uint32     // guarded by mu; number of the next segment
	spare    spare      // guarded by mu
	failed   error      // guarded by mu; set once, ErrFailed or os.ErrClosed
	synced   Position   // guarded by mu; everything before it is on stable storage
	syncing  bool       // guarded by mu; one caller is in fdatasync
	turn     *sync.Cond // of mu; syncing, spare or failed changed

	damage []Damage // constant after Open
	work   sync.WaitGroup
}

// Open opens or makes a spool and scans all of it. Appending begins in a new
// segment.
func Open(cfg Config) (*Spool, error) {
	if cfg.Segment < 4096 || cfg.Segment%4096 != 0 || cfg.Segment > 1<<30 || cfg.Limit < (reserved+2)*cfg.Segment {
		return nil, fmt.Errorf("open spool: segments of %d bytes within %d do not work", cfg.Segment, cfg.Limit)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{cfg: cfg, lock: lock}
	s.turn = sync.NewCond(&s.mu)
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.Close())
	}
	return s, nil
}

// lockDir keeps a second process out, for as long as the file is open.
func lockDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(ErrLocked, lock.Close())
	}
	return lock, nil
}

// load maps what is there and scans it.
func (s *Spool) load() error {
	numbers, err := listSegments(s.cfg.Dir)
	if err != nil {
		return err
	}
	last, known, err := s.readLast()
	if err != nil {
		return err
	}
	for i, number := range numbers {
		if i > 0 && number != numbers[i-1]+1 {
			s.damage = append(s.damage, Damage{Kind: MissingSegment, Position: at(numbers[i-1]+1, 0)})
		}
		seg, err := openSegment(s.cfg.Dir, number)
		if errors.Is(err, errAltered) && known && number > last {
			// It was being made when the process died, and never held an entry.
			if err := os.Remove(filepath.Join(s.cfg.Dir, segmentName(number))); err != nil {
				return err
			}
			numbers = numbers[:i]
			break
		}
		if errors.Is(err, errAltered) {
			s.damage = append(s.damage, Damage{Kind: AlteredSegment, Position: at(number, 0)})
			continue
		}
		if err != nil {
			return err
		}
		s.damage = append(s.damage, seg.scan()...)
		s.segments = append(s.segments, seg)
		s.taken += int64(len(seg.data))
	}
	s.next = last + 1
	if n := len(numbers); n > 0 {
		if numbers[n-1] < last {
			s.damage = append(s.damage, Damage{Kind: MissingSegment, Position: at(numbers[n-1]+1, 0)})
		}
		s.next = max(s.next, numbers[n-1]+1)
	} else if last > 0 {
		s.damage = append(s.damage, Damage{Kind: MissingSegment, Position: at(last, 0)})
	}
	// What a killed process left in the page cache is not durable yet.
	if err := syncSegments(s.segments); err != nil {
		return err
	}
	s.synced = at(s.next, 0)
	return nil
}

// Damage returns what Open found. What is listed here was there once and
// cannot be read any more.
func (s *Spool) Damage() []Damage { return s.damage }

// Close ends the spool. Entries stay.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.failed == nil {
		s.failed = os.ErrClosed
	}
	for s.syncing {
		s.turn.Wait()
	}
	s.turn.Broadcast()
	s.mu.Unlock()
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.spare.segment != nil {
		s.segments = append(s.segments, s.spare.segment)
	}
	for _, seg := range s.segments {
		errs = append(errs, seg.close())
	}
	s.segments, s.current, s.spare.segment = nil, nil, nil
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// Bytes returns how much of the limit is taken, in whole segments.
func (s *Spool) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes()
}

func (s *Spool) bytes() int64 {
	if s.spare.segment != nil || s.spare.coming {
		return s.taken + s.cfg.Segment
	}
	return s.taken
}

// Limit returns the limit of Config.
func (s *Spool) Limit() int64 { return s.cfg.Limit }

// End returns a position after every entry that there is.
func (s *Spool) End() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end()
}

func (s *Spool) end() Position {
	if s.current == nil {
		return at(s.next, 0)
	}
	return at(s.current.number, s.current.used)
}
