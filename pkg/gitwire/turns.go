package gitwire

import (
	"context"
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

// turn waits until a pack of the run may be read.
func (s *service) turn(ctx context.Context) (done func(), err error) {
	if s.Room == nil {
		return func() {}, nil
	}
	return s.Room.turns.take(ctx, s.Workload)
}
