package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket returns a TCP socket in the agent's own network namespace that may
// connect to protected destinations of an address's family. It is flagged, not
// connected, does not block, and is the caller's to close. Whoever holds it can
// connect it, once; Connect does.
func (r *Redirect) Socket(to netip.Addr) (fd int, err error) {
	// Plain TCP: with multipath the flag would sit on another socket than the
	// one that sends.
	fd, err = unix.Socket(family(to), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	if err := r.flag(fd, redirectAgentRoleAGENT_DIALS); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func family(addr netip.Addr) int {
	if addr.Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// Connect connects a socket of Socket, which it takes over. It needs no
// privilege.
func Connect(ctx context.Context, fd int, to netip.AddrPort) (*net.TCPConn, error) {
	socket := os.NewFile(uintptr(fd), "server leg") // has a poller, as fd does not block
	defer func() { _ = socket.Close() }()           // the connection has its own descriptor
	if err := connect(ctx, socket, fd, to); err != nil {
		return nil, fmt.Errorf("dial server: %w", err)
	}
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, fmt.Errorf("dial server: %w", err)
	}
	return conn.(*net.TCPConn), nil
}

func connect(ctx context.Context, socket *os.File, fd int, to netip.AddrPort) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	err = unix.Connect(fd, sockaddrOf(to))
	if err == nil || !errors.Is(err, unix.EINPROGRESS) {
		return os.NewSyscallError("connect", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = socket.SetWriteDeadline(time.Unix(1, 0)) }) // ends the wait below
	defer stop()
	err = awaitConnected(raw)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// awaitConnected waits until a connect that is under way has ended. A socket
// becomes writable then, and getpeername tells whether it was for nothing.
func awaitConnected(raw syscall.RawConn) error {
	var failed error
	err := raw.Write(func(fd uintptr) bool {
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			failed = os.NewSyscallError("getsockopt", err)
			return true
		}
		if errno != 0 {
			failed = os.NewSyscallError("connect", unix.Errno(errno))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil
	})
	return errors.Join(err, failed)
}

func sockaddrOf(at netip.AddrPort) unix.Sockaddr {
	if addr := at.Addr().Unmap(); addr.Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: addr.As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// flag marks a socket as the agent's own.
func (r *Redirect) flag(fd int, role redirectAgentRole) error {
	if err := r.objects.AgentSockets.Put(int32(fd), uint8(role)); err != nil {
		return fmt.Errorf("flag socket: %w", err)
	}
	return nil
}

// control runs f on a connection's descriptor.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return err
}
