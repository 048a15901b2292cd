package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Loop drives the sessions of all pumps that use it: whenever the kernel says
// that a leg can be read or written, its session's conversation goes on, on the
// goroutine that was told. What takes long is left to goroutines of the
// session's own. A query costs its two reads and two writes, and no wake-up of
// anybody, which is what two goroutines a session spend most on.
type Loop struct {
	pollers []*poller
	next    atomic.Uint32
	work    sync.WaitGroup
}

// NewLoop starts a loop with a goroutine for each two processors: clients,
// servers and records need the others. Close it when the last pump that uses it
// has returned.
func NewLoop() (*Loop, error) { return newLoop(max(1, runtime.GOMAXPROCS(0)/2)) }

func newLoop(goroutines int) (*Loop, error) {
	l := &Loop{}
	for range goroutines {
		p, err := newPoller()
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("start loop: %w", err)
		}
		l.pollers = append(l.pollers, p)
		l.work.Go(p.run)
	}
	return l, nil
}

// Goroutines is how many drive sessions. Each keeps a processor of the Go
// scheduler's, also while it waits: whoever has a loop gives the scheduler as
// many more (runtime.GOMAXPROCS).
func (l *Loop) Goroutines() int { return len(l.pollers) }

// Close ends the loop's goroutines and waits for them.
func (l *Loop) Close() {
	for _, p := range l.pollers {
		p.ended.Store(true)
		_, _ = unix.Write(p.bell, binary.NativeEndian.AppendUint64(nil, 1)) // has room: it is rung once
	}
	l.work.Wait()
	for _, p := range l.pollers {
		p.close()
	}
}

// pick returns the poller of the next session: its legs have the same one.
func (l *Loop) pick() *poller { return l.pollers[int(l.next.Add(1))%len(l.pollers)] }

// poller is one goroutine of a loop with its own set of legs.
type poller struct {
	epoll int
	bell  int // an eventfd that wakes it to end
	ended atomic.Bool

	eager  []*Pump // with more to do at once; the polling goroutine's own
	lively bool    // its last wait was short; likewise

	mu   sync.Mutex
	legs map[uint64]place // guarded by mu; by what epoll says of them
	last uint64           // guarded by mu
}

// place is a leg of a session.
type place struct {
	pump *Pump
	leg  Leg
}

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make eventfd: %w", err), unix.Close(epoll))
	}
	p := &poller{epoll: epoll, bell: bell, legs: map[uint64]place{}}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		p.close()
		return nil, fmt.Errorf("watch eventfd: %w", err)
	}
	return p, nil
}

func (p *poller) close() { _, _ = unix.Close(p.bell), unix.Close(p.epoll) }

// watch has a leg's socket watched. Each change is told once (EPOLLET), so that
// a leg that is not read for a while costs nothing. It returns what forget
// takes.
func (p *poller) watch(fd int, at place) (id uint64, err error) {
	p.mu.Lock()
	p.last++
	id = p.last
	p.legs[id] = at
	p.mu.Unlock()
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(uint32(id)), Pad: int32(uint32(id >> 32)), // numbers of ours: a descriptor's may be another's soon
	}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		p.forget(fd, id)
		return 0, fmt.Errorf("watch a leg: %w", err)
	}
	return id, nil
}

// forget ends the watching of a leg, before its socket is closed.
func (p *poller) forget(fd int, id uint64) {
	p.mu.Lock()
	delete(p.legs, id)
	p.mu.Unlock()
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) // it may never have been watched
}

// run drives sessions until the loop is closed. A session that always has more
// to do takes turns with the others.
func (p *poller) run() {
	var events [64]unix.EpollEvent
	var again []*Pump
	for !p.ended.Load() {
		n, err := p.wait(events[:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic("epoll_wait on a descriptor of our own: " + err.Error())
		}
		for i := range max(n, 0) {
			if at, ok := p.find(&events[i]); ok {
				at.pump.stir(at.leg, events[i].Events, p)
			}
		}
		again, p.eager = p.eager, again[:0]
		for i, pump := range again {
			again[i] = nil
			pump.drive(p)
		}
	}
}

const (
	// attentive is how many milliseconds a poller waits with its processor of
	// the Go scheduler kept.
	attentive = 2
	// watchful is how long a poller looks again and again before it sleeps,
	// where its last wait was shorter than lately.
	watchful = 50 * time.Microsecond
	lately   = 10 * watchful
)

// wait returns what happened, at once where a session has more to do. Before it
// sleeps it lets others run, who under load bring it work meanwhile: whoever
// has to wake it pays more for that than for what he sends. So while work comes
// often it stays awake for as long as such a wait takes. Then it sleeps in a raw
// call for a while: from a goroutine in an ordinary one the runtime's monitor
// takes the processor away after 20 µs, wakes another thread for it, and itself
// stays awake, 20 µs at a time.
func (p *poller) wait(events []unix.EpollEvent) (int, error) {
	n, err := p.look(events, 0)
	if n > 0 || err != nil || len(p.eager) > 0 {
		return n, err
	}
	began := time.Now()
	defer func() { p.lively = time.Since(began) < lately }()
	for yield(); p.lively && time.Since(began) < watchful; yield() {
		if n, err = p.look(events, 0); n > 0 || err != nil {
			return n, err
		}
	}
	if n, err = p.look(events, attentive); n > 0 || err != nil {
		return n, err
	}
	return unix.EpollWait(p.epoll, events, -1)
}

// yield lets others that want this processor have it first.
func yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// look is epoll_wait(2) that the Go scheduler does not know of.
func (p *poller) look(events []unix.EpollEvent, milliseconds uintptr) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), milliseconds, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (p *poller) find(event *unix.EpollEvent) (place, bool) {
	id := uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.legs[id]
	return at, ok
}
