package broker

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// acceptRetry is the pause after an accept that failed for want of memory or
// descriptors.
const acceptRetry = 5 * time.Millisecond

// listeners are those of the jobs' namespaces that are lent to this process. One
// that the privileged half has ended goes by itself.
type listeners struct {
	take func(conn *net.TCPConn, cookie uint64)
	fail func(cookie uint64, err error)

	mu      sync.Mutex
	cookies map[*net.TCPListener]uint64 // of their namespaces; guarded by mu
	resting bool                        // connections wait in them; guarded by mu
	closed  bool                        // guarded by mu
	serving sync.WaitGroup              // accept loops
}

// add takes a descriptor over.
func (a *listeners) add(fd int, cookie uint64) error {
	file := os.NewFile(uintptr(fd), "listener")
	found, err := net.FileListener(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	l, ok := found.(*net.TCPListener)
	if !ok {
		return errors.Join(errMalformed, found.Close())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return l.Close()
	}
	a.cookies[l] = cookie
	if !a.resting {
		a.serving.Go(func() { a.serve(l, cookie) })
	}
	return nil
}

// serve accepts until the listener rests, or is no more.
func (a *listeners) serve(l *net.TCPListener, cookie uint64) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			a.take(conn, cookie)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case errors.Is(err, unix.EINVAL): // it listens no more
			a.drop(l)
			return
		default:
			a.fail(cookie, err)
			<-time.After(acceptRetry)
		}
	}
}

func (a *listeners) drop(l *net.TCPListener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.cookies, l)
	_ = l.Close() // it is ours no more, and closed at the latest when the process ends
}

// rest returns when nothing is accepted any more. Connections wait from then on.
func (a *listeners) rest() {
	a.mu.Lock()
	a.resting = true
	for l := range a.cookies {
		_ = l.SetDeadline(time.Unix(1, 0)) // fails only on one that is closed
	}
	a.mu.Unlock()
	a.serving.Wait()
}

// resume accepts again.
func (a *listeners) resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resting = false
	for l, cookie := range a.cookies {
		_ = l.SetDeadline(time.Time{}) // as above
		a.serving.Go(func() { a.serve(l, cookie) })
	}
}

// close gives the listeners back for good.
func (a *listeners) close() {
	a.rest()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for l := range a.cookies {
		_ = l.Close() // as above
	}
	clear(a.cookies)
}

// hearListener takes a listener over.
func (c *Client) hearListener(said packet) error {
	var cookie uint64
	if err := unpackAll(said.body, &cookie); err != nil || len(said.fds) != 1 {
		closeAll(said.fds)
		return errMalformed
	}
	return c.listeners.add(said.fds[0], cookie)
}
