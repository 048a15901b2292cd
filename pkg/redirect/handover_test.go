package redirect_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// running is an agent that greets every connection with its name, until it is
// paused.
type running struct {
	*redirect.Redirect
	name   byte
	served atomic.Int32
	cancel context.CancelCauseFunc
	ended  chan error
}

func runNamed(t *testing.T, r *redirect.Redirect, name byte) *running {
	t.Helper()
	a := &running{Redirect: r, name: name}
	go func() {
		for {
			got, err := r.Accept(context.Background())
			if err != nil {
				return // it is closed
			}
			a.served.Add(1)
			_, _ = got.Conn.Write([]byte{name})
			_ = got.Conn.SetLinger(-1)
			_ = got.Conn.Close()
		}
	}()
	a.resume()
	return a
}

func (a *running) resume() {
	ctx, cancel := context.WithCancelCause(context.Background())
	a.cancel, a.ended = cancel, make(chan error, 1)
	go func() { a.ended <- a.Run(ctx) }()
}

func (a *running) pause(t *testing.T) {
	t.Helper()
	a.cancel(redirect.ErrPause)
	must(t, <-a.ended)
}

// listening is what a successor gets.
func (a *running) listening(t *testing.T) (all []redirect.Listening) {
	t.Helper()
	must(t, a.EachListening(func(l redirect.Listening) error {
		for i, fd := range l.Descriptors {
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return err
			}
			l.Descriptors[i] = own
		}
		all = append(all, l)
		return nil
	}))
	if len(all) == 0 {
		t.Fatal("it listens nowhere")
	}
	return all
}

// successor prepares the next agent.
func (a *running) successor(t *testing.T, cfg redirect.Config) (*redirect.Redirect, error) {
	t.Helper()
	pins, err := unix.FcntlInt(a.Pins().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	return redirect.Prepare(cfg, pins, zaptest.NewLogger(t))
}

// connectAlways opens connections one after the other until it is stopped. Each
// must be served.
func connectAlways(t *testing.T, l *lab) (stop func()) {
	t.Helper()
	ending := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 1; ; n++ {
			select {
			case <-ending:
				t.Logf("%d connections were served", n-1)
				return
			default:
			}
			conn, err := dialFrom(t, l.job, "tcp4", l.server4)
			if err == nil {
				_, err = io.ReadAll(conn)
			}
			if err != nil {
				t.Errorf("connection %d: %v", n, err)
				return
			}
		}
	}()
	return func() {
		close(ending)
		<-ended
	}
}

func TestSuccessorTakesOverAndNoConnectionFails(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	cfg := redirect.Config{Pins: l.pins, Port: l.slice.Port}
	first := runNamed(t, l.agent, 'a')
	stop := connectAlways(t, l)
	until(t, func() bool { return first.served.Load() > 20 })

	next, err := first.successor(t, cfg)
	must(t, err)
	closeLater(t, next.Close)
	first.pause(t)
	must(t, first.Beat())
	must(t, next.TakeOver(first.listening(t)))
	second := runNamed(t, next, 'b')
	must(t, first.LetGo())
	until(t, func() bool { return second.served.Load() > 20 && second.Healthy() == nil })
	must(t, second.Protect(l.destinations()))
	stop()
	second.cancel(nil)
	must(t, <-second.ended)
	if _, err := dialFrom(t, l.job, "tcp4", l.server4); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after the end: %v", err)
	}
}

func TestAgentGoesOnWhenItsSuccessorFails(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	agent := runNamed(t, l.agent, 'a')
	stop := connectAlways(t, l)
	until(t, func() bool { return agent.served.Load() > 20 })
	next, err := agent.successor(t, redirect.Config{Pins: l.pins, Port: l.slice.Port})
	must(t, err)
	agent.pause(t)
	must(t, next.TakeOver(agent.listening(t)))
	must(t, next.LetGo())
	must(t, agent.TakeBack())
	agent.resume()
	before := agent.served.Load()
	until(t, func() bool { return agent.served.Load() > before+20 && agent.Healthy() == nil })
	stop()
	agent.cancel(nil)
	must(t, <-agent.ended)
}

func TestSuccessorOfAnotherKindIsRefused(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	agent := runNamed(t, l.agent, 'a')
	elsewhere := filepath.Join(t.TempDir(), "pins")
	must(t, os.Mkdir(elsewhere, 0o700))
	for want, cfg := range map[string]redirect.Config{
		"port": {Pins: l.pins, Port: l.slice.Port + 1},
		"pins": {Pins: elsewhere, Port: l.slice.Port},
	} {
		if _, err := agent.successor(t, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("another %s: %v", want, err)
		}
	}
	conn, err := dialFrom(t, l.job, "tcp4", l.server4)
	must(t, err)
	if got, err := io.ReadAll(conn); err != nil || string(got) != "a" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	agent.cancel(nil)
	must(t, <-agent.ended)
}

// until waits for a condition.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}
