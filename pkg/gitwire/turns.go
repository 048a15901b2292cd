package gitwire

import (
	"context"
	"io"
	"sync"
)

// atOnce is how many packs of a workload are inflated at once: as little as is
// sent can take minutes of a processor, which other workloads need too.
const atOnce = 2

// turns let so many packs of each workload be read; the others wait.
type turns struct {
	mu sync.Mutex
	of map[uint64]*line // by workload; guarded by mu
}

// line is where the packs of a workload wait.
type line struct {
	taken chan struct{}
	users int // who have a turn or wait for one; guarded by mu of turns
}

// take waits for a turn. The caller ends it by done.
func (t *turns) take(ctx context.Context, workload uint64) (done func(), err error) {
	t.mu.Lock()
	l := t.of[workload]
	if l == nil {
		l = &line{taken: make(chan struct{}, atOnce)}
		t.of[workload] = l
	}
	l.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(t.of, workload)
		}
	}
	select {
	case l.taken <- struct{}{}:
		return func() { <-l.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// turn waits until something of the workload may be inflated.
func (s *share) turn(ctx context.Context) (done func(), err error) {
	if s == nil {
		return func() {}, nil
	}
	return s.room.turns.take(ctx, s.workload)
}

// turned is a stream whose reader has a turn, but not while it waits for more: a
// client that sends nothing keeps nobody waiting.
type turned struct {
	from io.Reader
	take func() (done func(), err error)
	done func() // ends the turn; nil: there is none
}

// inTurns has what is read of a source inflated in turns, until end.
func (s *share) inTurns(ctx context.Context, from *source) (end func(), err error) {
	t := &turned{from: from.from, take: func() (func(), error) { return s.turn(ctx) }}
	if t.done, err = t.take(); err != nil {
		return nil, err
	}
	from.from = t
	return func() {
		from.from = t.from
		t.leave()
	}, nil
}

func (t *turned) leave() {
	if t.done != nil {
		t.done()
		t.done = nil
	}
}

// Read implements io.Reader.
func (t *turned) Read(p []byte) (n int, err error) {
	t.leave()
	n, err = t.from.Read(p)
	var waited error
	if t.done, waited = t.take(); waited != nil {
		return n, waited
	}
	return n, err
}
