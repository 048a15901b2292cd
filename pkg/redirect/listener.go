package redirect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is one network namespace that the agent listens in. It keeps the
// namespace alive, so it must be left when no process is there any more.
type namespace struct {
	cookie     uint64
	inode      inode
	owner      string // whose quota it counts against
	file       *os.File
	listeners  []*listener
	state      redirectNetnsState
	inhabitant string         // /proc/PID/ns/net of a process that was in it; guarded by Redirect.mu
	missed     int            // looks in a row that found no process; guarded by Redirect.mu
	left       chan struct{}  // closed when the agent stops listening here
	serving    sync.WaitGroup // accept loops
}

type listener struct {
	*net.TCPListener
	accepting bool // there is an accept loop; guarded by Redirect.hands
}

// acceptRetry is the pause after an accept that failed for want of memory or
// descriptors.
const acceptRetry = 5 * time.Millisecond

// backlog is how many connections of one namespace wait for the agent.
const backlog = 4096

// errLoopbackDown means that 127.0.0.1 does not exist (yet) in a namespace.
var errLoopbackDown = errors.New("loopback is down")

// listenIn opens the listeners of a namespace: 127.0.0.1, and ::1 where the
// kernel has IPv6, whether or not the address exists there yet. The caller owns file until listenIn succeeds.
func (r *Redirect) listenIn(file *os.File, cookie uint64) (*namespace, error) {
	id, err := inodeOf(file)
	if err != nil {
		return nil, err
	}
	ns := &namespace{
		cookie: cookie, inode: id, file: file, left: make(chan struct{}),
		state: redirectNetnsStateNETNS_ENROLLED,
	}
	v4, err := r.listen(file, unix.AF_INET, &unix.SockaddrInet4{Port: int(r.port), Addr: [4]byte{127, 0, 0, 1}})
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil, errLoopbackDown
	}
	if err != nil {
		return nil, err
	}
	ns.listeners = append(ns.listeners, v4)
	ns.state |= redirectNetnsStateNETNS_LISTENS_V4

	v6, err := r.listen(file, unix.AF_INET6, &unix.SockaddrInet6{Port: int(r.port), Addr: [16]byte{15: 1}})
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return ns, nil
	}
	if err != nil {
		return nil, errors.Join(err, v4.Close())
	}
	ns.listeners = append(ns.listeners, v6)
	ns.state |= redirectNetnsStateNETNS_LISTENS_V6
	return ns, nil
}

// listen makes one listener. The socket is plain TCP, which socket(2) gives and
// net.ListenConfig would have to be told: on a multipath listener the record
// would sit on the subflow, out of reach.
func (r *Redirect) listen(ns *os.File, family int, at unix.Sockaddr) (*listener, error) {
	fd, err := socketIn(ns, family)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer func() { _ = file.Close() }() // the listener has its own descriptor
	if err := r.flag(fd, redirectAgentRoleAGENT_LISTENS); err != nil {
		return nil, err
	}
	if err := resetsByDefault(fd); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	// A container gets ::1 some time after 127.0.0.1, and may connect in between.
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1); err != nil {
			return nil, fmt.Errorf("set IPV6_FREEBIND: %w", err)
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		return nil, fmt.Errorf("bind listener: %w", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &listener{TCPListener: l.(*net.TCPListener)}, nil
}

// resetsByDefault makes the close of every connection that a listener accepts a
// reset, so that an accepting process that is killed at any point cannot make a
// truncated answer look whole. Each inherits it.
func resetsByDefault(fd int) error {
	err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return os.NewSyscallError("setsockopt", err)
}

// accept begins to serve a namespace, unless nobody is to. The caller holds mu.
func (r *Redirect) accept(ns *namespace) {
	r.hands.Lock()
	defer r.hands.Unlock()
	for _, l := range ns.listeners {
		if l.accepting || !r.accepts() {
			continue
		}
		l.accepting = true
		ns.serving.Go(func() { r.serve(ns, l) })
	}
}

// serve accepts until the listener is closed, or nobody is to accept here.
func (r *Redirect) serve(ns *namespace, l *listener) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			r.hand(ns, conn)
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, unix.EINVAL): // it listens no more
			go r.leaveShut(ns)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			if r.rests(l) {
				return
			}
		default:
			r.raise(Alert{Kind: AlertNoListener, NetnsCookie: ns.cookie, Count: 1, Detail: err.Error()})
			if !r.sleep(acceptRetry) {
				return
			}
		}
	}
}

// hand checks a connection's record and gives the connection to Accept.
func (r *Redirect) hand(ns *namespace, conn *net.TCPConn) {
	origin, err := r.records.Of(conn, ns.cookie)
	if err != nil {
		reset(conn)
		r.raise(Unserved(err, origin, ns.cookie))
		return
	}
	if IsProbe(origin.Destination, r.port) {
		reset(conn)
		r.Probed(origin)
		return
	}
	select {
	case r.accepted <- &Accepted{Conn: conn, Origin: origin}:
	case <-r.done:
		reset(conn)
	case <-ns.left:
		reset(conn)
	}
}

// sleep returns false when the agent closes first.
func (r *Redirect) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.done:
		return false
	}
}
