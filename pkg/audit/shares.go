package audit

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
)

// ErrShare reports that a workload's records take as much of the spool as one
// workload may. To whoever asks, its spool is full.
var ErrShare = fmt.Errorf("the workload has its share of the spool: %w", spool.ErrFull)

// One workload may take a quarter of the spool, so that no job fills it for the
// others while the collector is away.
const shareOf = 4

// shares counts what each workload's records take of the spool until the
// collector has them. A workload is told by its network namespace, which the
// kernel attests. Records of earlier epochs count for nobody.
type shares struct {
	limit int64 // bytes of one workload
	of    map[uint64]*share
	fresh []*share // those with bytes behind the newest mark
	marks []mark   // oldest first
}

// share is one workload's.
type share struct {
	netns uint64
	used  int64 // bytes that are not in the collector yet
	fresh int64 // of these, behind the newest mark
	over  bool  // it was refused since it was last below half of its share
}

// mark says whose bytes stand before a record.
type mark struct {
	upTo    uint64 // number of the record after it
	charges []charge
}

type charge struct {
	*share
	bytes int64
}

// take returns the share of a workload, and whether n more bytes fit into it.
func (s *shares) take(netns uint64, n int64) (*share, bool) {
	one := s.of[netns]
	if one == nil {
		if s.of == nil {
			s.of = map[uint64]*share{}
		}
		one = &share{netns: netns}
		s.of[netns] = one
	}
	return one, one.used+n <= s.limit
}

// crowded reports whether a workload has taken most of its share.
func (s *shares) crowded(netns uint64) bool {
	one := s.of[netns]
	return one != nil && one.used > s.limit-s.limit/4
}

// charge counts n bytes that were written.
func (s *shares) charge(one *share, n int64) {
	if one.fresh == 0 {
		s.fresh = append(s.fresh, one)
	}
	one.used += n
	one.fresh += n
}

// mark notes who wrote the records before a number, before they are batched:
// what a receipt of their batches gives back, it gives back by these marks.
func (s *shares) mark(upTo uint64) {
	if len(s.fresh) == 0 {
		return
	}
	m := mark{upTo: upTo}
	for _, one := range s.fresh {
		m.charges = append(m.charges, charge{one, one.fresh})
		one.fresh = 0
	}
	s.marks, s.fresh = append(s.marks, m), s.fresh[:0]
}

// release gives back what the collector has: the records before upTo.
func (s *shares) release(upTo uint64) {
	n := 0
	for ; n < len(s.marks) && s.marks[n].upTo <= upTo; n++ {
		for _, c := range s.marks[n].charges {
			c.used -= c.bytes
			if c.used < s.limit/2 {
				c.over = false
			}
			if c.used == 0 {
				delete(s.of, c.netns)
			}
		}
	}
	s.marks = append(s.marks[:0:0], s.marks[n:]...)
}

// refused counts records that found no room, until that can be recorded.
type refused struct {
	count   uint64
	dropped uint64    // of these, by policy: their operations went on
	last    time.Time // when they were recorded last
}

// noRoom decides what becomes of a record that the spool has no room for, and
// tells the operator once. mu of the writer is held.
func (l *Log) noRoom(one *share, cause error) error {
	w := &l.write
	if w.refused.count == 0 || one != nil && !one.over {
		fields := []zap.Field{zap.Error(cause), zap.Bool("forwarded", l.cfg.OnFull == Forward)}
		if one != nil {
			fields = append(fields, zap.Uint64("netns", one.netns))
		}
		l.cfg.Log.Error("A record finds no room in the spool", fields...)
	}
	if one != nil {
		one.over = true
	}
	w.refused.count++
	if l.cfg.OnFull != Forward {
		return fmt.Errorf("write record: %w", cause)
	}
	w.refused.dropped++
	w.next++ // the number stays missing, and the next note states it
	return errDropped
}

// reportEvery bounds how often the trail says that it found no room: whoever
// fills it can try any number of times.
const reportEvery = time.Minute

// reportRefused records what found no room, once there is some again.
func (l *Log) reportRefused(now bool) {
	l.write.mu.Lock()
	r := l.write.refused
	if r.count == 0 || !now && time.Since(r.last) < reportEvery {
		l.write.mu.Unlock()
		return
	}
	l.write.refused = refused{last: time.Now()}
	l.write.mu.Unlock()
	alert := record.Alert{Kind: "spool-full", Count: r.count, Detail: fmt.Sprintf("%d refused, %d forwarded without a record", r.count-r.dropped, r.dropped)}
	if err := l.Alert(alert); err != nil {
		l.write.mu.Lock()
		l.write.refused.count += r.count
		l.write.refused.dropped += r.dropped
		l.write.mu.Unlock()
	}
}
