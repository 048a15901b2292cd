package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// heap is what is in use, in MiB.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse >> 20
}

// still waits until a counter stays where it is.
func still(t *testing.T, counter *atomic.Int64) {
	t.Helper()
	last, since := counter.Load(), time.Now()
	waitFor(t, "the flood stops", func() bool {
		if now := counter.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

// A window counts bytes. Filled with packets of one byte each it would take
// seventy times its size.
func TestPacketsOfOneByteTakeNoMemoryWhileTheirProgramIsHeld(t *testing.T) {
	free := make(chan struct{})
	w := newWorld(t, func(ctx context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if op.Kind == operation.Exec {
			select {
			case <-free:
			case <-ctx.Done():
			}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	const channels, each = 2, 1 << 19
	client := w.dial(t, xssh.Password("x"))
	var sent atomic.Int64
	var all sync.WaitGroup
	for range channels {
		all.Go(func() { trickle(t, client, each, &sent) })
	}
	still(t, &sent)
	if sent.Load() == channels*each {
		t.Error("nothing was held back")
	}
	if got := heap(); got > 64 {
		t.Errorf("%d packets of one byte take %d MiB", sent.Load(), got)
	}
	close(free)
	all.Wait()
}

// trickle runs a program that counts its input, and sends it byte by byte.
func trickle(t *testing.T, client *xssh.Client, bytes int, sent *atomic.Int64) {
	session, err := client.NewSession()
	if err != nil {
		t.Error(err)
		return
	}
	in, err := session.StdinPipe()
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		for range bytes {
			if _, err := in.Write([]byte{'x'}); err != nil {
				return
			}
			sent.Add(1)
		}
		_ = in.Close()
	}()
	if out, err := session.Output("wc -c"); err != nil || string(out) != fmt.Sprintln(bytes) {
		t.Errorf("got %q, %v", out, err)
	}
}

// The same from the server, to a client that takes nothing: another channel goes
// on, and so does this one when the client leaves it.
func TestOutputThatTheClientDoesNotTakeHoldsNobody(t *testing.T) {
	w := newWorld(t, nil)
	client := w.dial(t, xssh.Password("x"))
	idle, requests, err := client.OpenChannel("session", nil)
	must(t, err)
	go xssh.DiscardRequests(requests)
	if ok, err := idle.SendRequest("exec", true, xssh.Marshal(struct{ Line string }{"head -c 100000000 /dev/zero"})); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	for range 20 {
		session, err := client.NewSession()
		must(t, err)
		if out, err := session.Output("head -c 3000000 /dev/zero | wc -c"); err != nil || string(out) != "3000000\n" {
			t.Fatalf("got %q, %v", out, err)
		}
	}
	must(t, idle.Close())
	waitFor(t, "the program that nobody listens to ends", func() bool { return len(w.guard.open()) == 0 })
}

// What a client says on stderr, or on a channel that is closed, is dropped.
func TestWhatNobodyTakesIsDropped(t *testing.T) {
	w := newWorld(t, func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if op.Kind == operation.Exec && strings.HasPrefix(string(op.Text.Reveal()), "refused") {
			return protocol.Decision{}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	client := w.dial(t, xssh.Password("x"))
	channel, requests, err := client.OpenChannel("session", nil)
	must(t, err)
	go xssh.DiscardRequests(requests)
	if _, err := io.Copy(channel.Stderr(), io.LimitReader(zeros{}, 8<<20)); err != nil { // four windows
		t.Errorf("stderr: %v", err)
	}
	if ok, err := channel.SendRequest("exec", true, xssh.Marshal(struct{ Line string }{"refused"})); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if _, err := io.Copy(channel, io.LimitReader(zeros{}, 8<<20)); err == nil || !errors.Is(err, io.EOF) {
		t.Errorf("a refused program took its input: %v", err)
	}
	if ok, err := channel.SendRequest("env", true, make([]byte, 100_000)); ok || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("an oversized request: %v, %v", ok, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Connections that never log in open nothing at the server before they speak,
// and leave nothing when they go.
func TestConnectionsThatDoNotLogInAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	before := runtime.NumGoroutine()
	var silent []net.Conn
	for range 200 {
		conn, err := net.Dial("tcp", w.front.String())
		must(t, err)
		silent = append(silent, conn)
	}
	if out, errs, code := w.ssh(t, "", "echo served"); out != "served\n" {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
	if asked := len(w.guard.asked(operation.Connect)); asked != 1 {
		t.Errorf("%d logins were asked about", asked)
	}
	if got := heap(); got > 96 {
		t.Errorf("200 silent connections take %d MiB", got)
	}
	for _, conn := range silent {
		must(t, conn.Close())
	}
	waitFor(t, "their goroutines end", func() bool { return runtime.NumGoroutine() <= before+5 })
}
