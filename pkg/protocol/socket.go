package protocol

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxTransfer bounds one system call, because nothing else runs on its
// processor meanwhile and the garbage collector waits for it.
const maxTransfer = 64 << 10

var (
	errNoSocket = errors.New("a leg is no socket")
	// errAgain says that nothing can be read now. It is a net.Error that passes,
	// so that crypto/tls goes on where it was.
	errAgain net.Error = unix.EAGAIN
)

// socket is a leg's connection on a descriptor of its own, which the Go runtime
// does not watch. Its system calls are raw ones: a small write takes longer
// than the 20 µs after which the runtime's monitor takes the processor away
// from a goroutine in a system call, wakes another thread for it, and stays
// awake itself; that costs as much as the write. None of them waits.
//
// It is a net.Conn for crypto/tls. One goroutine at a time uses it: whoever
// drives the session, or the one that does a TLS handshake.
type socket struct {
	fd            int
	local, remote net.Addr

	more  bool   // there may be something to read
	ended bool   // the peer ended its direction: the last read says so
	queue []byte // written, and not taken by the peer yet, from queue[sent] on
	sent  int

	shaking atomic.Bool   // a handshake is under way, whose calls wait
	stirred chan struct{} // the poller saw something during it
	cut     chan struct{} // closed when the handshake took too long
}

// takeOver moves a connection from the Go runtime to a socket, and closes conn.
func takeOver(conn net.Conn) (*socket, error) {
	via, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errNoSocket
	}
	raw, err := via.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{fd: -1, local: conn.LocalAddr(), remote: conn.RemoteAddr(), more: true, stirred: make(chan struct{}, 1)}
	var failed error
	err = raw.Control(func(fd uintptr) { s.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return s, conn.Close()
}

// Read returns errAgain when nothing is there, or waits during a handshake.
// What comes in less than was asked for was all, so that no call is made that
// finds nothing; whatever comes later is told of.
func (s *socket) Read(b []byte) (int, error) {
	for len(b) > 0 {
		b = b[:min(len(b), maxTransfer)]
		if s.more {
			n, errno := s.call(unix.SYS_READ, b)
			switch {
			case errno == 0 && n == 0:
				return 0, io.EOF
			case errno == 0:
				s.more = n == len(b) || s.ended || s.shaking.Load()
				return n, nil
			case errno != unix.EAGAIN:
				return 0, os.NewSyscallError("read", errno)
			}
			s.more = false
		}
		if !s.shaking.Load() {
			return 0, errAgain
		}
		if err := s.wait(); err != nil {
			return 0, err
		}
		s.more = true
	}
	return 0, nil
}

// Write puts b into the queue, which send empties; during a handshake it waits
// until all is sent.
func (s *socket) Write(b []byte) (int, error) {
	s.queue = append(s.queue, b...)
	if !s.shaking.Load() {
		return len(b), nil
	}
	for {
		if err := s.send(); err != nil {
			return 0, err
		}
		if s.queued() == 0 {
			return len(b), nil
		}
		if err := s.wait(); err != nil {
			return 0, err
		}
	}
}

// put is Write and send, without a copy of what is sent at once.
func (s *socket) put(b []byte) error {
	if s.queued() == 0 {
		n, err := s.give(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	s.queue = append(s.queue, b...)
	return s.send()
}

// send writes of the queue what the peer takes.
func (s *socket) send() error {
	if s.queued() == 0 {
		return nil
	}
	n, err := s.give(s.queue[s.sent:])
	s.sent += n
	if s.queued() == 0 {
		s.queue, s.sent = s.queue[:0], 0
	} else if s.sent > len(s.queue)/2 {
		s.queue, s.sent = s.queue[:copy(s.queue, s.queue[s.sent:])], 0
	}
	if cap(s.queue) > maxQueue && len(s.queue) == 0 {
		s.queue = nil
	}
	return err
}

// give writes until the peer takes no more.
func (s *socket) give(b []byte) (n int, err error) {
	for n < len(b) {
		did, errno := s.call(unix.SYS_WRITE, b[n:min(len(b), n+maxTransfer)])
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			return n, os.NewSyscallError("write", errno)
		}
		n += did
	}
	return n, nil
}

func (s *socket) queued() int { return len(s.queue) - s.sent }

// call makes one system call on bytes, of which there are some.
func (s *socket) call(number uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(number, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// shake runs a handshake, whose reads and writes wait, until ctx ends.
func (s *socket) shake(ctx context.Context, handshake func(context.Context) error) error {
	s.cut, s.more = make(chan struct{}), true
	s.shaking.Store(true)
	stop := context.AfterFunc(ctx, func() { close(s.cut) })
	defer stop()
	err := handshake(context.WithoutCancel(ctx))
	s.shaking.Store(false)
	s.more = true // what came behind it may have been read already
	return err
}

func (s *socket) wait() error {
	select {
	case <-s.stirred:
		return nil
	case <-s.cut:
		return os.ErrDeadlineExceeded
	}
}

// stir tells a handshake that the socket has changed.
func (s *socket) stir() {
	if !s.shaking.Load() {
		return
	}
	select {
	case s.stirred <- struct{}{}:
	default:
	}
}

// Close does nothing: the pump closes the socket, when nobody uses it.
func (s *socket) Close() error { return nil }

// LocalAddr is that of the connection that was taken over.
func (s *socket) LocalAddr() net.Addr { return s.local }

// RemoteAddr is that of the connection that was taken over.
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// SetDeadline does nothing: nothing waits but a handshake, which has a context.
func (s *socket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, either.
func (s *socket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, either.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
