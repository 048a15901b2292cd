package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// phase is where a Broker is in an upgrade.
type phase int

const (
	inCharge phase = iota
	leaving        // another is about to take over: a proxy that dies is not replaced yet
	retired        // another has: the proxy ends with its last session
)

// Hold makes the first proxy wait for Release before it opens its records, which
// another process still writes. Call it before Run.
func (b *Broker) Hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

// Able is closed when the first proxy has read its configuration, has given up
// its privileges and can begin.
func (b *Broker) Able() <-chan struct{} { return b.able }

// Release lets the first proxy begin, with what another has left.
func (b *Broker) Release(baton []byte, stream int) error {
	b.mu.Lock()
	first := b.first
	b.lost = time.Now() // connections wait from now on
	b.mu.Unlock()
	if first == nil {
		return errors.New("release the proxy: there is none")
	}
	first.link.impatient()
	return first.link.send(kindBegin, 0, baton, stream)
}

// begin tells a proxy how to begin.
func (b *Broker) begin(p *proxy) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first != nil || !b.held {
		p.link.impatient()
		if err := p.link.send(kindBegin, 0, nil); err != nil {
			return err
		}
	}
	if b.first == nil {
		b.first = p
		close(b.able)
	}
	return nil
}

// HandOver makes the proxy hand its records over and returns what carries them
// on. Its sessions wait from then on, for Retire or Return, one of which has to
// be called. Redirect must accept nothing any more.
func (b *Broker) HandOver(ctx context.Context) (baton []byte, err error) {
	b.mu.Lock()
	p := b.current
	b.phase, b.decided = leaving, make(chan struct{})
	b.mu.Unlock()
	if p == nil {
		return nil, errors.New("hand over: no proxy serves")
	}
	p.link.impatient()
	if err := p.link.send(kindLeave, 0, nil); err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	select {
	case baton := <-p.left:
		return baton, nil
	case <-p.ended:
		return nil, errors.New("hand over: the proxy has died")
	case <-ctx.Done():
		return nil, fmt.Errorf("hand over: %w", context.Cause(ctx))
	}
}

// Retire lets the proxy end with its last session, and Run with it. Its records
// go to the stream.
func (b *Broker) Retire(stream int) {
	if p := b.decide(retired); p != nil {
		p.link.impatient()
		if err := p.link.send(kindRetire, 0, nil, stream); err != nil {
			p.fail(fmt.Errorf("retire: %w", err))
		}
	}
}

// Return lets the proxy go on, after HandOver came to nothing.
func (b *Broker) Return() {
	if p := b.decide(inCharge); p != nil {
		p.link.impatient()
		if err := p.link.send(kindReturn, 0, nil); err != nil {
			p.fail(fmt.Errorf("return: %w", err))
		}
	}
}

func (b *Broker) decide(next phase) *proxy {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase = next
	close(b.decided)
	return b.current
}

// replace reports whether a proxy that has ended is to be replaced. During an
// upgrade it waits until that is decided.
func (b *Broker) replace(ctx context.Context) bool {
	b.mu.Lock()
	now, decided := b.phase, b.decided
	b.mu.Unlock()
	if now == leaving {
		select {
		case <-decided:
			return b.replace(ctx)
		case <-ctx.Done():
		}
	}
	return now != retired && ctx.Err() == nil
}

func (b *Broker) isRetired() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.phase == retired
}

// Streams makes the two ends of a stream for records.
func Streams() (one, other int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fds[0], fds[1], os.NewSyscallError("socketpair", err)
}
