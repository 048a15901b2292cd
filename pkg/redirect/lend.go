package redirect

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Lend lets another process accept, which gets the listeners by EachListening,
// or takes accepting back. Connections wait in the listeners meanwhile, which
// stay open here. Accept still returns what was accepted before.
func (r *Redirect) Lend(lent bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hands.Lock()
	r.lent = lent
	r.hands.Unlock()
	return r.acceptOrRest()
}

// Changed is sent to after the agent has begun or ceased to listen in a
// namespace. It has one reader.
func (r *Redirect) Changed() <-chan struct{} { return r.changed }

func (r *Redirect) change() {
	select {
	case r.changed <- struct{}{}:
	default: // the reader has yet to look at the last one
	}
}

// run lets connections be accepted here, unless another process does, or stops
// that and returns when the last one is in other hands.
func (r *Redirect) run(running bool) error {
	r.mu.Lock()
	r.hands.Lock()
	r.running = running
	r.hands.Unlock()
	err := r.acceptOrRest()
	all := slices.Collect(maps.Values(r.enrolled))
	r.mu.Unlock()
	for _, ns := range all {
		if !running {
			ns.serving.Wait()
		}
	}
	return err
}

// acceptOrRest serves every namespace, those included that somebody else
// enrolled, or lets accept loops find out that they rest. The caller holds mu.
func (r *Redirect) acceptOrRest() error {
	deadline := time.Time{}
	r.hands.Lock()
	if !r.accepts() {
		deadline = time.Unix(1, 0)
	}
	r.hands.Unlock()
	var errs []error
	for _, ns := range r.enrolled {
		for _, l := range ns.listeners {
			errs = append(errs, l.SetDeadline(deadline))
		}
		r.accept(ns)
	}
	return errors.Join(errs...)
}

// accepts reports whether connections are accepted here. The caller holds hands.
func (r *Redirect) accepts() bool { return r.running && !r.lent }

// rests reports whether an accept loop has to end.
func (r *Redirect) rests(l *listener) bool {
	r.hands.Lock()
	defer r.hands.Unlock()
	l.accepting = r.accepts()
	return !l.accepting
}

// Booted is the time that an Origin's Started is counted from.
func (r *Redirect) Booted() time.Time { return r.booted }

// HasAsked reports whether a connection of this process came to a listener, and
// was one of the last few thousand. started is counted from Booted.
func (r *Redirect) HasAsked(pid uint32, started time.Duration) (bool, error) {
	var yes uint8
	err := r.objects.Askers.Lookup(redirectAsker{ProcessStartNs: uint64(started), Pid: pid}, &yes)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a process: %w", err)
	}
	return true, nil
}

// Arrived is how many connections came to a listener with their records, since
// the maps were made.
func (r *Redirect) Arrived() (uint64, error) {
	return sum(r.objects.Counters, uint32(redirectCounterRECORD_MOVED))
}
