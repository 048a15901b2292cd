package audit

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
)

// One process at a time writes an epoch. While a new proxy takes over, the old
// one's sessions go on: their records are numbered, spooled and signed by the
// new one, in the same epoch, as if nothing had happened.

// Baton is what a process needs to carry an epoch on, besides the spool.
type Baton struct {
	Epoch record.Epoch
	Next  uint64 // number of the next record
	Start int64  // when the epoch began, in ns of CLOCK_MONOTONIC
}

// heir writes the records of a log that was handed over: another process's log,
// or this one's own when that other process has failed.
type heir interface {
	put(header, body []byte, netns uint64) (spool.Position, error) // header: encoded, with a number and times that are not the record's
	settle(spool.Position) error
}

// HandOver ends Run without a seal and makes everything durable. The spool is
// not used any more when it returns, and can be closed. Whoever writes a record
// waits, for Follow.
func (l *Log) HandOver() (Baton, error) {
	l.write.mu.Lock()
	if l.write.handed || l.write.sealed {
		l.write.mu.Unlock()
		return Baton{}, ErrSealed
	}
	l.write.handed = true
	b := Baton{Epoch: l.epoch, Next: l.write.next, Start: monotonic() - int64(time.Since(l.start))}
	l.write.mu.Unlock()
	close(l.leaving)
	<-l.left
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	if err := l.cfg.Spool.Sync(l.cfg.Spool.End() - 1); err != nil {
		return Baton{}, fmt.Errorf("hand over the audit log: %w", err)
	}
	return b, nil
}

// Follow lets writing go on, in the log of whoever took over. It may be called
// again, when that one has failed and another took over.
func (l *Log) Follow(next heir) {
	l.write.mu.Lock()
	defer l.write.mu.Unlock()
	l.write.heir = next
	l.write.turn.Broadcast()
}

// await returns who writes the records of this log; nil: the log itself. It
// waits while nobody does. write.mu is held.
func (w *writer) await() heir {
	for w.handed && w.heir == nil {
		w.turn.Wait()
	}
	return w.heir
}

// carryOn takes over the epoch that another process began.
func (l *Log) carryOn(b Baton) error {
	c := &l.chain
	if !c.begun() || c.Sealed || c.Epoch != b.Epoch {
		return errors.New("the spool does not end with the epoch that was handed over")
	}
	l.epoch, l.write.next = c.Epoch, max(b.Next, c.Next)
	l.write.key = sealingKey(c.Secret)
	l.start = time.Now().Add(time.Duration(b.Start - monotonic()))
	return l.announce()
}

// putElsewhere lets next write a record. It hands over bytes, so that a record
// that is written here needs no memory on the heap.
func putElsewhere(next heir, h *record.Header, body []byte, netns uint64) (spool.Position, error) {
	h.Time = time.Now()
	header, err := record.AppendHeader(nil, h)
	if err != nil {
		return 0, err
	}
	return next.put(header, body, netns)
}

// put writes a record of another log.
func (l *Log) put(header, body []byte, netns uint64) (spool.Position, error) {
	h, err := record.DecodeHeader(header)
	if err != nil {
		return 0, err
	}
	l.write.mu.Lock()
	defer l.write.mu.Unlock()
	next := l.write.await()
	switch {
	case l.write.sealed:
		return 0, ErrSealed
	case next != nil:
		return next.put(header, body, netns)
	}
	return l.place(&h, body, netns)
}

// elsewhere lets whoever writes the records now do what could not be done here.
func (l *Log) elsewhere(why error, do func(heir) error) error {
	l.write.mu.Lock()
	next := l.write.await()
	l.write.mu.Unlock()
	if next == nil {
		return why
	}
	return do(next)
}

func monotonic() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail: the clock exists and now is ours
	return now.Nano()
}
