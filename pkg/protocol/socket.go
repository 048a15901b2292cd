package protocol

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// maxTransfer bounds one system call, because nothing else runs on its
// processor meanwhile and the garbage collector waits for it.
const maxTransfer = 64 << 10

// socket is a TCP connection whose system calls the Go scheduler does not see.
//
// A small write takes longer than the 20 µs after which the runtime's monitor
// takes the processor away from a goroutine in a system call, wakes another
// thread for it, and stays awake itself; that costs as much as the write. The
// socket is non-blocking, so that no call waits, and waiting is left to the
// runtime's poller as ever.
//
// One goroutine at a time may read, and one may write.
type socket struct {
	*net.TCPConn
	in, out direction
}

// direct returns a TCP connection as a socket, and any other one as it is.
func direct(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn // only if it is nil
	}
	s := &socket{TCPConn: tcp}
	s.in.run, s.in.step = raw.Read, s.in.read
	s.out.run, s.out.step = raw.Write, s.out.write
	return s
}

func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := s.in.transfer("read", b)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

func (s *socket) Write(b []byte) (int, error) { return s.out.transfer("write", b) }

// direction is one of a socket. Its memory is part of the socket, so that a
// transfer allocates nothing.
type direction struct {
	run   func(step func(fd uintptr) bool) error // calls step, and again when the socket is ready
	step  func(fd uintptr) bool                  // read or write
	left  []byte
	done  int
	errno syscall.Errno
}

// transfer moves bytes from or to b.
func (d *direction) transfer(name string, b []byte) (int, error) {
	d.left, d.done, d.errno = b, 0, 0
	err := d.run(d.step)
	d.left = nil
	if err == nil && d.errno != 0 {
		err = os.NewSyscallError(name, d.errno)
	}
	return d.done, err
}

// read takes what is there. It reports false when nothing is.
func (d *direction) read(fd uintptr) bool { return d.call(syscall.SYS_READ, fd) }

// write gives all away. It reports false when the peer has no room.
func (d *direction) write(fd uintptr) bool {
	for len(d.left) > 0 {
		if !d.call(syscall.SYS_WRITE, fd) {
			return false
		}
		if d.errno != 0 {
			break
		}
	}
	return true
}

// call makes one system call. It reports false when that would block.
func (d *direction) call(number, fd uintptr) bool {
	for {
		size := min(len(d.left), maxTransfer)
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(d.left))), uintptr(size))
		switch errno {
		case 0:
			d.done += int(n)
			d.left = d.left[n:]
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		default:
			d.errno = errno
		}
		return true
	}
}
