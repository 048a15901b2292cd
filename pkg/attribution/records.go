package attribution

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	// A container's record is its own for life but for its name, so it may be
	// kept; it is kept briefly, so that a container that was renamed or
	// restarted is seen again.
	rememberFor = 10 * time.Second
	maxRemember = 4096 // containers

	// startPoll is how often a container that is still starting is asked for
	// again: the runtimes learn its first pid after the process runs.
	startPoll = 20 * time.Millisecond
)

// errStarting reports that the runtime does not know the first process yet.
var errStarting = errors.New("container is not running")

// records remembers what one container runtime says about its containers.
type records struct {
	fetch  func(ctx context.Context, id string) (container, error) // asks once
	flight singleflight.Group                                      // by container id

	mu    sync.Mutex
	known map[string]remembered // by container id; guarded by mu
}

// container is the runtime's record of one running container.
type container struct {
	facts workload.OrchFacts
	home  string // boundary of its first process's cgroup
}

type remembered struct {
	container
	until time.Time
}

func newRecords(fetch func(context.Context, string) (container, error)) *records {
	return &records{fetch: fetch, known: make(map[string]remembered)}
}

// of returns the runtime's record of the container that a boundary names. A
// name in a path proves nothing where somebody else can make directories, so
// the container's first process must live in that very boundary.
func (r *records) of(ctx context.Context, b boundary) (workload.OrchFacts, error) {
	c, found := r.remembered(b.container)
	if !found {
		var err error
		if c, err = r.ask(ctx, b.container); err != nil {
			return workload.OrchFacts{}, err
		}
	}
	if c.home != b.path {
		return workload.OrchFacts{}, fmt.Errorf("container %s lives in another cgroup", b.container)
	}
	facts := c.facts
	facts.Taints = append([]string(nil), c.facts.Taints...)
	return facts, nil
}

// ask fetches a container's record once for all who wait for it, and remembers
// the answer.
func (r *records) ask(ctx context.Context, id string) (container, error) {
	answer := r.flight.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
		defer cancel()
		c, err := r.fetchStarted(ctx, id)
		if err != nil {
			return container{}, err
		}
		r.remember(id, c)
		return c, nil
	})
	select {
	case result := <-answer:
		if result.Err != nil {
			return container{}, result.Err
		}
		return result.Val.(container), nil
	case <-ctx.Done():
		return container{}, fmt.Errorf("inspect container: %w", ctx.Err())
	}
}

// fetchStarted fetches until the container runs or ctx ends.
func (r *records) fetchStarted(ctx context.Context, id string) (container, error) {
	for {
		c, err := r.fetch(ctx, id)
		if !errors.Is(err, errStarting) {
			return c, err
		}
		select {
		case <-time.After(startPoll):
		case <-ctx.Done():
			return container{}, err
		}
	}
}

func (r *records) remembered(id string) (container, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, found := r.known[id]
	return c.container, found && time.Now().Before(c.until)
}

// remember keeps a record, and forgets what has expired, or everything, when
// there are too many.
func (r *records) remember(id string, c container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.known) >= maxRemember {
		for other, old := range r.known {
			if now.After(old.until) {
				delete(r.known, other)
			}
		}
	}
	if len(r.known) >= maxRemember {
		clear(r.known)
	}
	r.known[id] = remembered{c, now.Add(rememberFor)}
}

// homeOf returns the boundary that a process lives in.
func (s Sources) homeOf(ctx context.Context, pid int) (string, error) {
	cgroups, err := s.Cgroups(ctx, pid)
	if err != nil {
		return "", fmt.Errorf("read cgroup of the first process: %w", err)
	}
	b, err := homeOf(cgroups)
	return b.path, err
}
