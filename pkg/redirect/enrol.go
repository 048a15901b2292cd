package redirect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// errElsewhere means that a path leads to another namespace than the one asked
// for.
var errElsewhere = errors.New("another network namespace")

// refusalLasts is how long a namespace that could not be enrolled is refused
// without another try.
const refusalLasts = time.Second

// searchBacklog is how many namespaces may wait to be searched for; one more is
// refused.
const searchBacklog = 64

// enrolOf opens listeners in the namespace of a process or thread, whose
// directory in /proc it takes. want is the cookie that the namespace must have;
// 0 takes any.
func (r *Redirect) enrolOf(process string, want uint64) error {
	owner, err := ownerOf(process)
	if err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(process, "ns/net"))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	kept, err := r.enrol(file, want, owner)
	if kept {
		return err
	}
	return errors.Join(err, file.Close())
}

// enrol returns kept when file now belongs to the registry.
func (r *Redirect) enrol(file *os.File, want uint64, owner string) (kept bool, err error) {
	cookie, err := cookieOf(file)
	if err != nil {
		return false, err
	}
	if want != 0 && cookie != want {
		return false, errElsewhere
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		return false, os.ErrClosed
	default:
	}
	if ns, ok := r.enrolled[cookie]; ok {
		return false, r.publish(cookie, ns.state)
	}
	if r.owned[owner] >= namespacesPerOwner {
		return false, errTooMany
	}
	ns, err := r.listenIn(file, cookie)
	if err != nil {
		return false, err
	}
	ns.owner = owner
	if err := r.publish(cookie, ns.state); err != nil {
		return false, errors.Join(err, ns.closeListeners())
	}
	r.enrolled[cookie] = ns
	r.owned[owner]++
	delete(r.refused, cookie)
	r.accept(ns)
	r.change()
	return true, nil
}

// publish tells the programs what they may do with a namespace's connections.
func (r *Redirect) publish(cookie uint64, state redirectNetnsState) error {
	if err := r.objects.Namespaces.Put(cookie, redirectNetns{State: state}); err != nil {
		return fmt.Errorf("publish network namespace: %w", err)
	}
	return nil
}

// refuse makes connects in a namespace fail at once, until it is tried again.
func (r *Redirect) refuse(cookie uint64, kind AlertKind, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.enrolled[cookie]; ok {
		return
	}
	if err := r.publish(cookie, redirectNetnsStateNETNS_ENROLLED); err != nil {
		why = errors.Join(why, err)
	}
	r.refused[cookie] = time.Now()
	r.refusals.Add(1)
	r.raise(Alert{Kind: kind, NetnsCookie: cookie, Count: 1, Detail: why.Error()})
}

// answer enrols the namespace in which a held connection waits. What takes
// longer it leaves to the search.
func (r *Redirect) answer(e redirectEnrolment) {
	if r.enrolAgain(e.NetnsCookie) {
		return
	}
	err := r.enrolOf(fmt.Sprintf("/proc/%d/task/%d", e.Pid, e.Tid), e.NetnsCookie)
	if err == nil {
		return
	}
	// The process is gone, or uses a socket of another namespace than its own.
	if !errors.Is(err, errElsewhere) && !isGone(err) {
		r.refuse(e.NetnsCookie, kindOf(err), err)
		return
	}
	select {
	case r.searches <- e.NetnsCookie:
	default:
		r.refuse(e.NetnsCookie, AlertUnknownNamespace, errors.New("too many network namespaces to search for"))
	}
}

func kindOf(err error) AlertKind {
	if errors.Is(err, errTooMany) {
		return AlertTooManyNamespaces
	}
	return AlertNoListener
}

// isGone reports that a process ended while we looked at it.
func isGone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// enrolAgain publishes a namespace that is enrolled already.
func (r *Redirect) enrolAgain(cookie uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ns, ok := r.enrolled[cookie]
	return ok && r.publish(cookie, ns.state) == nil
}

func (r *Redirect) listensIn(id inode) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range r.enrolled {
		if ns.inode == id {
			return true
		}
	}
	return false
}

// search looks for a namespace by its cookie in every process. It takes
// milliseconds, so the loop that answers others does not wait for it.
func (r *Redirect) search(cookie uint64) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		r.refuse(cookie, AlertUnknownNamespace, err)
		return
	}
	seen := make(map[inode]bool)
	for _, process := range processes {
		id, err := inodeAt(filepath.Join(process, "ns/net"))
		if err != nil || seen[id] {
			continue // the process is gone, or shares its namespace
		}
		seen[id] = true
		switch err := r.enrolOf(process, cookie); {
		case err == nil:
			return
		case !errors.Is(err, errElsewhere) && !isGone(err):
			r.refuse(cookie, kindOf(err), err)
			return
		}
	}
	r.refuse(cookie, AlertUnknownNamespace, errors.New("no process is in this network namespace"))
}

// leave stops listening in a namespace and forgets it: also another process that
// has these listeners accepts nothing more. The caller holds mu.
func (r *Redirect) leave(ns *namespace) error {
	delete(r.enrolled, ns.cookie)
	if r.owned[ns.owner]--; r.owned[ns.owner] == 0 {
		delete(r.owned, ns.owner)
	}
	err := errors.Join(r.forget(ns.cookie), ns.stopListening(), ns.closeListeners())
	ns.serving.Wait()
	r.change()
	return errors.Join(err, ns.file.Close())
}

// leaveShut leaves a namespace whose listener somebody shut down who had it lent:
// the next connect there has it enrolled again.
func (r *Redirect) leaveShut(ns *namespace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.enrolled[ns.cookie] != ns {
		return // it was left, which shut it down
	}
	if err := r.leave(ns); err != nil {
		r.log.Warn("leave network namespace", zap.Uint64("netns_cookie", ns.cookie), zap.Error(err))
	}
}

// stopListening ends the listeners in every process that holds them.
func (ns *namespace) stopListening() error {
	var errs []error
	for _, l := range ns.listeners {
		raw, err := l.SyscallConn()
		if err == nil {
			err = control(raw, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
		}
		if !errors.Is(err, unix.ENOTCONN) { // somebody has shut it already
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (ns *namespace) closeListeners() error {
	close(ns.left)
	var errs []error
	for _, l := range ns.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

func (r *Redirect) forget(cookie uint64) error {
	var errs []error
	for _, m := range []*ebpf.Map{r.objects.Namespaces, r.objects.PassageCounts} {
		if err := m.Delete(cookie); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("forget network namespace: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (r *Redirect) leaveAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range r.enrolled {
		if err := r.leave(ns); err != nil {
			r.log.Warn("leave network namespace", zap.Uint64("netns_cookie", ns.cookie), zap.Error(err))
		}
	}
}

// forgetUnanswered drops the questions that were lost on their way, so that
// they neither fill the map nor stay unanswered: the next connect asks again.
func (r *Redirect) forgetUnanswered() error {
	var stale []uint64
	var cookie uint64
	var state redirectNetns
	now := monotonic()
	entries := r.objects.Namespaces.Iterate()
	for entries.Next(&cookie, &state) {
		if state.State == 0 && now > state.AskedNs+uint64(refusalLasts) {
			stale = append(stale, cookie)
		}
	}
	errs := []error{entries.Err()}
	for _, cookie := range stale {
		errs = append(errs, r.forget(cookie))
	}
	return errors.Join(errs...)
}

// forgetNamespaces clears what an earlier run published: its listeners are
// gone, and every namespace has to be enrolled again.
func (r *Redirect) forgetNamespaces() error {
	if err := keepKeys[uint64](r.objects.Namespaces, nil); err != nil {
		return fmt.Errorf("forget network namespaces: %w", err)
	}
	return nil
}
