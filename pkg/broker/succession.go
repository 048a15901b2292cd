package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// Two privileged halves meet once: the one in charge starts its successor, which
// gets everything ready, takes over what cannot be made again, and says when it
// runs. Until then the old one can go on as if nothing had been.

const (
	// prepareWait is how long a successor may take to get ready, while the old
	// one is in charge.
	prepareWait = 3 * time.Minute
	// runningWait is how long it may take to run. New connections wait.
	runningWait = 20 * time.Second
)

// Successor is the process that is to take over, as the one in charge sees it.
type Successor struct {
	link *link
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process, or its end of the socket, is
	said chan kind
}

// StartSuccessor starts a process that calls Succeed, and waits until it is ready
// to take over. pins is the directory with the lock.
func StartSuccessor(ctx context.Context, cmd *exec.Cmd, pins int) (*Successor, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("start the successor: %w", err)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs) // Descriptor
	err = cmd.Start()
	_ = theirs.Close() // the successor has its own descriptor
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the successor: %w", err), ours.close())
	}
	s := &Successor{link: ours, cmd: cmd, gone: make(chan struct{}), said: make(chan kind, 2)}
	go s.listen()
	ours.impatient()
	err = ours.send(kindPins, 0, nil, pins)
	if err == nil {
		err = s.wait(ctx, kindPrepared, prepareWait)
	}
	if err != nil {
		s.Abort()
		return nil, fmt.Errorf("prepare the successor: %w", err)
	}
	return s, nil
}

func (s *Successor) listen() {
	defer close(s.gone)
	for {
		said, err := s.link.receive()
		if err != nil {
			return
		}
		select {
		case s.said <- said.kind:
		default:
			return // it says more than it may
		}
	}
}

func (s *Successor) wait(ctx context.Context, want kind, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case said := <-s.said:
		if said != want {
			return errMalformed
		}
		return nil
	case <-s.gone:
		return errors.New("it has ended")
	case <-timer.C:
		return errors.New("it takes too long")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Give hands over the listeners, what carries the records on, and what names
// were resolved to, and waits until the successor runs. After an error it does
// not.
func (s *Successor) Give(ctx context.Context, kernel *redirect.Redirect, baton []byte, stream int, names []byte) error {
	s.link.impatient()
	err := kernel.EachListening(func(l redirect.Listening) error {
		fixed := pack(nil, listening{Cookie: l.Cookie, State: l.State})
		return s.link.send(kindListening, 0, append(fixed, l.Owner...), l.Descriptors...)
	})
	if err != nil {
		return fmt.Errorf("hand over listeners: %w", err)
	}
	file, err := memory(names)
	if err != nil {
		return fmt.Errorf("hand over names: %w", err)
	}
	defer file.Close() //nolint:errcheck // the successor has its own descriptor
	if err := s.link.send(kindEstate, 0, baton, stream, int(file.Fd())); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if err := s.wait(ctx, kindRunning, runningWait); err != nil {
		return fmt.Errorf("wait for the successor: %w", err)
	}
	return nil
}

// Abort ends a successor that has not taken over, and waits for its end.
func (s *Successor) Abort() {
	_ = s.cmd.Process.Kill() // gone already, or not for long
	_ = s.cmd.Wait()         // how it ended is told by what went wrong
	_ = s.link.close()
	<-s.gone
}

// PID is the successor's.
func (s *Successor) PID() int { return s.cmd.Process.Pid }

// Gone is closed when the successor has ended, or wants this process to.
func (s *Successor) Gone() <-chan struct{} { return s.gone }

// Predecessor is the process that is in charge, as its successor sees it.
type Predecessor struct{ link *link }

// Estate is what a successor takes over. The descriptors are its own.
type Estate struct {
	Listening []redirect.Listening
	Baton     []byte
	Stream    int
	Names     []byte
}

// maxListening is the descriptors of one namespace: it and two listeners.
const maxListening = 3

// Succeed meets the process that is in charge, at Descriptor, and returns the
// directory of its pins with the lock.
func Succeed(socket *os.File) (p *Predecessor, pins int, err error) {
	l, err := attach(socket)
	if err != nil {
		return nil, -1, err
	}
	l.takeFiles(maxListening)
	said, err := l.receive()
	if err == nil && (said.kind != kindPins || len(said.fds) != 1) {
		closeAll(said.fds)
		err = errMalformed
	}
	if err != nil {
		return nil, -1, errors.Join(fmt.Errorf("meet the predecessor: %w", err), l.close())
	}
	return &Predecessor{link: l}, said.fds[0], nil
}

// Take says that this process is ready, and waits for what there is to take
// over.
func (p *Predecessor) Take() (Estate, error) {
	var estate Estate
	if err := p.link.send(kindPrepared, 0, nil); err != nil {
		return estate, err
	}
	for {
		said, err := p.link.receive()
		if err != nil {
			return estate, fmt.Errorf("take over: %w", err)
		}
		switch {
		case said.kind == kindListening:
			var fixed listening
			owner, err := unpack(said.body, &fixed)
			if err != nil {
				return estate, err
			}
			estate.Listening = append(estate.Listening, redirect.Listening{
				Cookie: fixed.Cookie, State: fixed.State, Owner: string(owner), Descriptors: said.fds,
			})
		case said.kind == kindEstate && len(said.fds) == 2:
			estate.Baton, estate.Stream = append([]byte(nil), said.body...), said.fds[0]
			names := os.NewFile(uintptr(said.fds[1]), "names")
			defer names.Close() //nolint:errcheck // only read
			estate.Names, err = io.ReadAll(names)
			return estate, err
		default:
			return estate, errMalformed
		}
	}
}

// Running says that this process has taken over.
func (p *Predecessor) Running() error { return p.link.send(kindRunning, 0, nil) }

// End lets the predecessor's sessions end now, and waits for it, for a bounded
// time.
func (p *Predecessor) End() {
	_ = p.link.conn.CloseWrite()
	_ = p.link.conn.SetReadDeadline(time.Now().Add(stopWait + exitWait))
	for err := error(nil); err == nil; {
		_, err = p.link.receive() // nothing, until it has ended
	}
	_ = p.link.close()
}
