package attribution

import (
	"context"
	"encoding/json"
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
	// again: the Engine learns its first pid after the process runs.
	startPoll = 20 * time.Millisecond
)

// errStarting reports that the Engine does not know the first process yet.
var errStarting = errors.New("container is not running")

// docker remembers what the Docker Engine says about containers.
type docker struct {
	sources Sources
	flight  singleflight.Group // by container id

	mu    sync.Mutex
	known map[string]container // by container id; guarded by mu
}

// container is the Engine's record of one running container.
type container struct {
	facts workload.OrchFacts
	home  string // boundary of its first process's cgroup
	until time.Time
}

func newDocker(sources Sources) *docker {
	return &docker{sources: sources, known: make(map[string]container)}
}

// inspect returns the Engine's record of the container that the cgroup home
// belongs to. A name in a path proves nothing where somebody else can make
// directories, so the container's first process must live in that very
// boundary.
func (d *docker) inspect(ctx context.Context, id, home string) (workload.OrchFacts, error) {
	c, found := d.remembered(id)
	if !found {
		var err error
		if c, err = d.ask(ctx, id); err != nil {
			return workload.OrchFacts{}, err
		}
	}
	if c.home != home {
		return workload.OrchFacts{}, fmt.Errorf("container %s lives in another cgroup", id)
	}
	facts := c.facts
	facts.Taints = append([]string(nil), c.facts.Taints...)
	return facts, nil
}

// ask inspects a container once for all who wait for it, and remembers the
// answer.
func (d *docker) ask(ctx context.Context, id string) (container, error) {
	answer := d.flight.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
		defer cancel()
		c, err := d.fetchStarted(ctx, id)
		if err != nil {
			return container{}, err
		}
		d.remember(id, c)
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
func (d *docker) fetchStarted(ctx context.Context, id string) (container, error) {
	for {
		c, err := d.fetch(ctx, id)
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

// fetch asks once.
func (d *docker) fetch(ctx context.Context, id string) (container, error) {
	answer, err := d.sources.Container(ctx, id)
	if err != nil {
		return container{}, fmt.Errorf("inspect container: %w", err)
	}
	var record inspection
	if err := json.Unmarshal(answer, &record); err != nil {
		return container{}, fmt.Errorf("inspect container: decode the engine's answer: %w", err)
	}
	if record.ID != id {
		return container{}, errors.New("inspect container: the engine answered for another container")
	}
	if record.State.Pid <= 0 {
		return container{}, errStarting
	}
	cgroups, err := d.sources.Cgroups(ctx, record.State.Pid)
	if err != nil {
		return container{}, fmt.Errorf("read cgroup of the first process: %w", err)
	}
	home, err := homeOf(cgroups)
	if err != nil {
		return container{}, err
	}
	return container{facts: record.facts(d.sources.EngineSocket), home: home, until: time.Now().Add(rememberFor)}, nil
}

func (d *docker) remembered(id string) (container, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, found := d.known[id]
	return c, found && time.Now().Before(c.until)
}

// remember keeps a record, and forgets what has expired, or everything, when
// there are too many.
func (d *docker) remember(id string, c container) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxRemember {
		now := time.Now()
		for other, old := range d.known {
			if now.After(old.until) {
				delete(d.known, other)
			}
		}
	}
	if len(d.known) >= maxRemember {
		clear(d.known)
	}
	d.known[id] = c
}
