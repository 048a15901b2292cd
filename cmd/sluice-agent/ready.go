package main

import (
	"fmt"
	"net"
	"os"
)

// notifyReady tells the service manager that protection is in force, so that
// nothing which may run jobs starts before: sd_notify(3), Type=notify. Without
// a service manager nobody is told.
func notifyReady() error { return notify("READY=1") }

// notifySuccessor tells the service manager that another process is the unit's
// main one from now on.
func notifySuccessor(pid int) error { return notify(fmt.Sprintf("MAINPID=%d\nREADY=1", pid)) }

func notify(what string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	socket, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"}) // a leading @ is abstract
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	_, err = socket.Write([]byte(what))
	_ = socket.Close() // the datagram has left or Write said why not
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
