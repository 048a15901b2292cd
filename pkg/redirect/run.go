package redirect

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

const (
	// beatInterval is a fraction of HEARTBEAT_LIMIT_NS in maps.h: several
	// beats may be late before anybody is refused.
	beatInterval = 200 * time.Millisecond
	reapInterval = 500 * time.Millisecond
	// missesAllowed is how often a namespace may be seen without a process
	// before it is left: a container's first process may still be on its way.
	missesAllowed = 2
)

// Run enrols network namespaces and keeps the programs informed that the agent
// lives, until ctx ends. Then it stops listening, and protected destinations
// are refused; but when the cause is ErrPause everything stays, connections
// wait, and Run may be called again.
func (r *Redirect) Run(ctx context.Context) error {
	if err := r.run(true); err != nil {
		return err
	}
	caller := ctx
	enrolments, err := ringbuf.NewReader(r.objects.Enrolments)
	if err != nil {
		return fmt.Errorf("read enrolments: %w", err)
	}
	drops, err := ringbuf.NewReader(r.objects.Drops)
	if err != nil {
		return errors.Join(fmt.Errorf("read drops: %w", err), enrolments.Close())
	}
	exemptions, err := ringbuf.NewReader(r.objects.Exemptions)
	if err != nil {
		return errors.Join(fmt.Errorf("read exemptions: %w", err), enrolments.Close(), drops.Close())
	}
	if err := r.enrolOf("/proc/thread-self", 0); err != nil {
		return errors.Join(fmt.Errorf("enrol own network namespace: %w", err), enrolments.Close(), drops.Close(), exemptions.Close())
	}
	early, err := r.newWatch()
	if err != nil {
		// Every first connection is then held for some milliseconds.
		r.log.Warn("namespaces are not enrolled early", zap.Error(err))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.readEnrolments(ctx, enrolments) })
	group.Go(func() error { return r.readDrops(drops) })
	group.Go(func() error { return r.readExemptions(ctx, exemptions) })
	group.Go(func() error { return r.reap(ctx) })
	group.Go(func() error { return r.searchAll(ctx) })
	group.Go(func() error { return r.testItself(ctx) })
	group.Go(func() error { return r.guard.run(ctx) })
	group.Go(func() error { return r.followTunnels(ctx) })
	if early != nil {
		group.Go(func() error { return early.run(ctx) })
	}
	group.Go(func() error {
		<-ctx.Done()
		return errors.Join(enrolments.Close(), drops.Close(), exemptions.Close())
	})
	err = group.Wait()
	if err == nil && pauses(caller) {
		return r.run(false)
	}
	err = errors.Join(err, r.beat(0))
	r.leaveAll()
	return err
}

// readEnrolments answers held connections. It beats in the same loop, so that a
// beat proves that enrolments are being answered.
func (r *Redirect) readEnrolments(ctx context.Context, events *ringbuf.Reader) error {
	var event ringbuf.Record
	for ctx.Err() == nil {
		now := time.Now()
		if err := r.beat(monotonic()); err != nil {
			return err
		}
		events.SetDeadline(now.Add(beatInterval))
		err := events.ReadInto(&event)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		var asked redirectEnrolment
		if err := errors.Join(err, decode(event.RawSample, &asked)); err != nil {
			return fmt.Errorf("read enrolments: %w", err)
		}
		r.answer(asked)
	}
	return nil
}

func (r *Redirect) searchAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case cookie := <-r.searches:
			r.search(cookie)
		}
	}
}

func (r *Redirect) readDrops(events *ringbuf.Reader) error {
	var event ringbuf.Record
	for {
		err := events.ReadInto(&event)
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		var drop redirectDrop
		if err := errors.Join(err, decode(event.RawSample, &drop)); err != nil {
			return fmt.Errorf("read drops: %w", err)
		}
		r.raise(r.alert(drop))
	}
}

func decode(sample []byte, event any) error {
	return binary.Read(bytes.NewReader(sample), binary.NativeEndian, event)
}

// reap leaves namespaces that no process is in any more.
func (r *Redirect) reap(ctx context.Context) error {
	tick := time.NewTicker(reapInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !r.allInhabited() {
			at, err := inhabitants()
			if err != nil {
				return err
			}
			r.leaveDead(at)
		}
		r.forgetOld()
		if err := r.findExempt(); err != nil {
			return err
		}
	}
}

// allInhabited reports whether the process that was last found in each enrolled
// namespace is still there. Only where one is not are all processes looked at:
// a node has thousands.
func (r *Redirect) allInhabited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range r.enrolled {
		if id, err := inodeAt(ns.inhabitant); err != nil || id != ns.inode {
			return false
		}
	}
	return true
}

func (r *Redirect) leaveDead(at map[inode]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range r.enrolled {
		ns.missed++
		if ns.inhabitant = at[ns.inode]; ns.inhabitant != "" {
			ns.missed = 0
		}
		if ns.missed <= missesAllowed {
			continue
		}
		if err := r.leave(ns); err != nil {
			r.log.Warn("leave network namespace", zap.Uint64("netns_cookie", ns.cookie), zap.Error(err))
		}
	}
}

// forgetOld forgets the namespaces that were refused long ago, and those that
// nobody answered for.
func (r *Redirect) forgetOld() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for cookie, at := range r.refused {
		if time.Since(at) < refusalLasts {
			continue
		}
		delete(r.refused, cookie)
		if err := r.forget(cookie); err != nil {
			r.log.Warn("forget network namespace", zap.Uint64("netns_cookie", cookie), zap.Error(err))
		}
	}
	if err := r.forgetUnanswered(); err != nil {
		r.log.Warn("forget unanswered network namespaces", zap.Error(err))
	}
}

// inhabitants are the namespaces that some process is in, each with the file by
// which one process refers to it. A namespace that only a file or a single
// thread refers to may be missing: it is enrolled again when somebody connects
// from there.
func inhabitants() (map[inode]string, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer func() { _ = proc.Close() }() // read only
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	at := make(map[inode]string)
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		file := "/proc/" + name + "/ns/net"
		if id, err := inodeAt(file); err == nil && at[id] == "" {
			at[id] = file // mostly the oldest, which lives longest
		}
	}
	return at, nil
}
