package httpproxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watch calls gone once the peer of a leg has closed it, or its direction of it.
// Nothing is read: what the peer sent before stays where it is, and costs
// nothing. stop ends it, and returns when gone is not called any more.
func watch(leg net.Conn, gone func()) (stop func(), err error) {
	via, ok := leg.(syscall.Conn)
	if !ok {
		return nil, errors.New("a leg is no socket")
	}
	raw, err := via.SyscallConn()
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLRDHUP})
	})
	if err := errors.Join(err, failed, unix.SetNonblock(epoll, true)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch a leg: %w", err), unix.Close(epoll))
	}
	events := os.NewFile(uintptr(epoll), "epoll") // which the Go runtime's own waits for
	wait, err := events.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, events.Close())
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		var event [1]unix.EpollEvent
		err := wait.Read(func(fd uintptr) bool {
			n, err := unix.EpollWait(int(fd), event[:], 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		if err == nil {
			gone()
		}
	}()
	return func() {
		_ = events.Close()
		<-over
	}, nil
}
