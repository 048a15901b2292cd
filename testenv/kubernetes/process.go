package kubernetes

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// freePorts returns the first of some that nobody has, one after the other.
func freePorts(address string, count int) (int, error) {
	for range 20 {
		var held []net.Listener
		first, err := 0, error(nil)
		for i := range count {
			var listener net.Listener
			want := 0
			if i > 0 {
				want = first + i
			}
			if listener, err = net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(want))); err != nil {
				break
			}
			held = append(held, listener)
			first = held[0].Addr().(*net.TCPAddr).Port
		}
		for _, listener := range held {
			_ = listener.Close() // so that another can have it
		}
		if err == nil {
			return first, nil
		}
	}
	return 0, errors.New("no free ports side by side")
}

// newToken is one that nobody guesses.
func newToken() string { return rand.Text() }

// child runs a program, which is not ended with this process: Stop does that.
func (s *Server) child(name string, argv ...string) (Process, error) {
	return Child(s.path(name+".log"), argv...)
}

// Child runs a program with its output in a file.
func Child(logFile string, argv ...string) (Process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return Process{}, err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // of a test that is killed nothing stays
	if err := cmd.Start(); err != nil {
		return Process{}, fmt.Errorf("start %s: %w", argv[0], err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop := func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			return nil
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			return fmt.Errorf("%s had to be killed", argv[0])
		}
	}
	alive := func() bool {
		select {
		case <-ended:
			return false
		default:
			return true
		}
	}
	return Process{stop, alive}, nil
}
