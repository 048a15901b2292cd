package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// honest are programs that mean no harm. They see "all well", or what is
// different from a connection that nobody intercepts.
func honest() []technique {
	return []technique{
		{"honest-half-close", wholesome(halfClose)},
		{"honest-reset", wholesome(reset)},
		{"honest-options", wholesome(keepOptions)},
		{"honest-peer-name", wholesome(peerName)},
		{"honest-peer-name-ipv6", wholesome(peerName6)},
		{"honest-unprotected", wholesome(unprotected)},
	}
}

func wholesome(f func(target) error) func(target) seen {
	return func(to target) seen {
		if err := f(to); err != nil {
			return seen{Saw: err.Error()}
		}
		return seen{Saw: "all well"}
	}
}

// dial is what an ordinary Go program does.
func dial(addr netip.Addr, port uint16) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, port).String(), limit)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(limit))
}

// halfClose says all that it has to say, and then hears all that the server has
// to say, which speaks first.
func halfClose(to target) error {
	conn, err := dial(to.Server4, to.Leg)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, payload); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	heard, err := io.ReadAll(conn)
	if err != nil || string(heard) != "CANARY \n"+payload {
		return fmt.Errorf("heard %q: %w", heard, err)
	}
	return nil
}

// reset ends in a way that the server must not take for an orderly end.
func reset(to target) error {
	conn, err := dial(to.Server4, to.Leg)
	if err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 64)); err != nil {
		return err
	}
	if err := conn.SetLinger(0); err != nil {
		return err
	}
	return conn.Close()
}

// keepOptions finds its socket's options after connect as it set them before.
func keepOptions(to target) error {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	options := []option{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 7},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 5},
		{unix.IPPROTO_TCP, unix.TCP_SYNCNT, 4},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 9000},
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	if s := talk(fd, at(unix.AF_INET, to.Server4, to.Port)); s.Gained || !strings.HasPrefix(s.Saw, "answered") {
		return errors.New(s.Saw)
	}
	for _, o := range options {
		got, err := unix.GetsockoptInt(fd, o.level, o.name)
		if err != nil || got != o.value {
			return fmt.Errorf("option %d of level %d is %d instead of %d: %w", o.name, o.level, got, o.value, err)
		}
	}
	return nil
}

func peerName(to target) error { return peerIs(to.Server4, to.Port) }

func peerName6(to target) error { return peerIs(to.Server6, to.Port) }

// peerIs asks its socket for the peer, as psql's \conninfo and Java do.
func peerIs(addr netip.Addr, port uint16) error {
	conn, err := dial(addr, port)
	if err != nil {
		return err
	}
	want := netip.AddrPortFrom(addr, port).String()
	if got := conn.RemoteAddr().String(); got != want {
		return fmt.Errorf("the peer is %s instead of %s", got, want)
	}
	_, err = conn.Read(make([]byte, 1)) // the agent speaks first here
	return err
}

// unprotected reaches another port of the same server, which itself answers.
func unprotected(to target) error {
	conn, err := dial(to.Server4, to.Open)
	if err != nil {
		return err
	}
	greeting := make([]byte, 8)
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "CANARY \n" {
		return fmt.Errorf("heard %q: %w", greeting, err)
	}
	own, err := ownAddress(false)
	if err != nil {
		return err
	}
	if local := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); local != own {
		return fmt.Errorf("the socket's own address is %s instead of %s", local, own)
	}
	return nil
}
