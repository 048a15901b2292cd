package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is how long one system call may take.
const patience = 1500 * time.Millisecond

// payload is what techniques send.
const payload = "smuggled past the agent"

// saw is what an error looks like to a job.
func saw(doing string, err error) seen {
	if doing == "" && err != nil {
		return seen{Saw: err.Error()}
	}
	switch {
	case err == nil:
		return seen{Saw: doing + ": done"}
	case errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EALREADY):
		return seen{Saw: doing + ": time-out"}
	}
	return seen{Saw: doing + ": " + err.Error()}
}

// open makes a socket whose calls end, and that leaves nothing to be sent again
// when it is closed.
func open(family, kind, protocol int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	soften(fd)
	return fd, nil
}

// soften sets what open promises. Where a kind of socket has no such option,
// there is nothing to promise.
func soften(fd int) {
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait)
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// at is an address as a socket of that family takes it: IPv4 in an IPv6 socket
// becomes ::ffff:a.b.c.d.
func at(family int, addr netip.Addr, port uint16) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(port), Addr: addr.Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(port), Addr: addr.As16()}
}

// disconnect connects to AF_UNSPEC, which dissolves an association.
func disconnect(fd int) error {
	var none unix.RawSockaddr // its family is AF_UNSPEC
	return call(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
}

func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// talk connects and asks who is there.
func talk(fd int, to unix.Sockaddr) seen {
	if err := unix.Connect(fd, to); err != nil {
		return saw("connect", err)
	}
	return listen(fd)
}

// listen reads a greeting. The suite's agent says AGENT, its server CANARY.
func listen(fd int) seen {
	_, _ = unix.Write(fd, []byte(payload)) // the answer tells more than this error
	greeting := make([]byte, 64)
	n, err := read(fd, greeting)
	if err != nil {
		return saw("read", err)
	}
	if n == 0 {
		return seen{Saw: "read: end of file"}
	}
	word, _, _ := strings.Cut(string(greeting[:n]), " ")
	return seen{Saw: "answered by " + strings.ToLower(strings.TrimSpace(word)), Gained: word != "AGENT"}
}

// read is read(2), again after a signal: a socket with a time-out is not read on
// by itself (signal(7)).
func read(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// option is one setsockopt.
type option struct{ level, name, value int }

// stream is a technique that connects a socket of its own.
func stream(family, protocol int, addr func(target) (netip.Addr, uint16), options ...option) func(target) seen {
	return func(to target) seen {
		fd, err := open(family, unix.SOCK_STREAM, protocol)
		if err != nil {
			return saw("", err)
		}
		defer unix.Close(fd) //nolint:errcheck // the process ends
		for _, o := range options {
			if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
				return saw("setsockopt", err)
			}
		}
		host, port := addr(to)
		return talk(fd, at(family, host, port))
	}
}

func v4(to target) (netip.Addr, uint16) { return to.Server4, to.Port }
func v6(to target) (netip.Addr, uint16) { return to.Server6, to.Port }
