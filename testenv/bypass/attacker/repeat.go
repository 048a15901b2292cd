package main

import (
	"golang.org/x/sys/unix"
)

// repeats use one socket more than once, or from an unusual state.
func repeats() []technique {
	return []technique{
		{"unspec-reconnect", reconnect},
		{"repair", repair},
		{"older-connection", older},
		{"older-socket", olderSocket},
	}
}

// reconnect first connects where it may, and then the same socket where it may
// not.
func reconnect(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.Connect(fd, at(unix.AF_INET, to.Server4, to.Open)); err != nil {
		return saw("first connect", err)
	}
	if err := disconnect(fd); err != nil {
		return saw("disconnect", err)
	}
	return talk(fd, at(unix.AF_INET, to.Server4, to.Port))
}

// repair makes an established connection out of nothing: no SYN, no handshake.
func repair(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		return saw("setsockopt", err)
	}
	if err := unix.Connect(fd, at(unix.AF_INET, to.Server4, to.Port)); err != nil {
		return saw("connect", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 0); err != nil {
		return saw("setsockopt", err)
	}
	return listen(fd)
}

// older keeps a connection that was made before its destination was protected.
func older(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.Connect(fd, at(unix.AF_INET, to.Server4, to.Port)); err != nil {
		return saw("connect", err)
	}
	if _, err := read(fd, make([]byte, 64)); err != nil {
		return saw("first read", err)
	}
	pause()
	return listen(fd)
}

// olderSocket keeps a socket that is older than the agent.
func olderSocket(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return saw("bind", err)
	}
	pause()
	return talk(fd, at(unix.AF_INET, to.Server4, to.Port))
}
