package gitwire

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// store keeps a pack while nobody has decided about it: the beginning in
// memory, the rest in a file without a name, which ends with its descriptor.
type store struct {
	limit  int64
	memory int // bytes that stay in memory
	dir    string
	share  *share // of the disk, and of the memory for the head

	head []byte
	tail *os.File // nil until the head is full
	size int64
}

// write appends. It keeps no part of p when that is over the limit.
func (s *store) write(p []byte) error {
	if s.size+int64(len(p)) > s.limit {
		return fmt.Errorf("the pack: %w", errLimit)
	}
	if room := s.memory - len(s.head); room > 0 && s.tail == nil && s.share.keep(int64(min(room, len(p)))) {
		n := min(room, len(p))
		s.head = append(s.head, p[:n]...)
		s.size += int64(n)
		p = p[n:]
	}
	if len(p) == 0 {
		return nil
	}
	if s.tail == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	if err := s.share.grow(int64(len(p))); err != nil {
		return err
	}
	n, err := s.tail.Write(p)
	s.size += int64(n)
	if err != nil {
		return fmt.Errorf("keep a pack: %w", err)
	}
	return nil
}

func (s *store) open() error {
	file, err := os.CreateTemp(s.dir, "pack-*")
	if err != nil {
		return fmt.Errorf("keep a pack: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close() // it was never used
		return fmt.Errorf("keep a pack: %w", err)
	}
	s.tail = file
	return nil
}

// ReadAt implements io.ReaderAt.
func (s *store) ReadAt(p []byte, at int64) (n int, err error) {
	if at < int64(len(s.head)) {
		n = copy(p, s.head[at:])
		p, at = p[n:], at+int64(n)
	}
	if len(p) == 0 {
		return n, nil
	}
	if s.tail == nil {
		return n, io.EOF
	}
	more, err := s.tail.ReadAt(p, at-int64(len(s.head)))
	return n + more, err
}

// reader reads what was kept, from the beginning.
func (s *store) reader() io.Reader { return io.NewSectionReader(s, 0, s.size) }

// close frees what was kept.
func (s *store) close() {
	s.head = nil
	s.share.end()
	if s.tail != nil {
		_ = s.tail.Close() // nothing of it is needed any more
		s.tail = nil
	}
}

// tooLarge reports whether an error says that a limit was reached, as against
// a broken pack or a broken disk.
func tooLarge(err error) bool { return errors.Is(err, errLimit) }
