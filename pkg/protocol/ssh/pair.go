package ssh

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// pair returns two connected sockets: who serves a connection inside of another
// one may want a descriptor that the kernel tells of. What waits in them is
// bounded by their buffers (net.core.wmem_default, 208 KiB).
func pair() (ours, theirs *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, errOurs := unixConn(fds[0])
	theirs, errTheirs := unixConn(fds[1])
	if err := errors.Join(errOurs, errTheirs); err != nil {
		for _, end := range []*net.UnixConn{ours, theirs} {
			if end != nil {
				_ = end.Close()
			}
		}
		return nil, nil, err
	}
	return ours, theirs, nil
}

// unixConn takes a descriptor over.
func unixConn(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "pair")
	defer file.Close() //nolint:errcheck // what it returns has a descriptor of its own
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}
