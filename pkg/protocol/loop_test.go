package protocol_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

func newLoop(t *testing.T) *protocol.Loop {
	t.Helper()
	loop, err := protocol.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	return loop
}

// exchange says a line to the server and hears its answer.
func (s *sitting) exchange(t *testing.T) {
	t.Helper()
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	if _, err := s.server.Write([]byte("last\n")); err != nil {
		t.Fatal(err)
	}
	read(t, s.client, "last\n")
}

// closeAll ends sessions before their loop is closed.
func closeAll(t *testing.T, loop *protocol.Loop, sessions ...*sitting) {
	t.Helper()
	for _, s := range sessions {
		s.end()
		_ = s.wait(t)
	}
	loop.Close()
}

func TestSlowMessageKeepsNoOtherSessionWaiting(t *testing.T) {
	loop := newLoop(t)
	thinking := &lines{thought: make(chan struct{})}
	slow, quick := sitIn(t, &book{}, thinking, loop), sitIn(t, &book{}, &lines{}, loop)
	slow.exchange(t)
	slow.say(t, "think\n")
	for range 100 {
		quick.exchange(t)
	}
	close(thinking.thought)
	read(t, slow.server, "think\n")
	closeAll(t, loop, slow, quick)
}

func TestWaitingDecisionKeepsNoOtherSessionWaiting(t *testing.T) {
	loop := newLoop(t)
	release := make(chan struct{})
	held := sitIn(t, &book{decide: func(context.Context, func(protocol.Waiting)) (protocol.Decision, error) {
		<-release
		return protocol.Decision{Effect: protocol.Allow}, nil
	}}, &lines{}, loop)
	quick := sitIn(t, &book{}, &lines{}, loop)
	held.say(t, "hello\n")
	for range 100 {
		quick.exchange(t)
	}
	close(release)
	read(t, held.server, "hello\n")
	closeAll(t, loop, held, quick)
}

func TestFloodKeepsNoOtherSessionWaiting(t *testing.T) {
	loop := newLoop(t)
	busy, quick := sitIn(t, &book{}, &lines{}, loop), sitIn(t, &book{}, &lines{}, loop)
	busy.exchange(t)
	go func() { _, _ = io.Copy(busy.server, endless{}) }() // until the session ends
	go func() { _, _ = io.Copy(io.Discard, busy.client) }()
	for range 100 {
		quick.exchange(t)
	}
	closeAll(t, loop, busy, quick)
}

// pipelined asks about its second byte and writes both.
type pipelined struct {
	lines
	asked bool
}

func (c *pipelined) Feed(from protocol.Leg, b []byte, to []protocol.Action) (int, []protocol.Action) {
	if from == protocol.ServerLeg || !c.dialled {
		return c.lines.Feed(from, b, to)
	}
	switch {
	case len(b) == 2:
		c.asked = true
		c.op = protocol.Pending{Operation: operation.Operation{Text: operation.Text("x")}}
		return 1, append(to,
			protocol.Action{Kind: protocol.Write, Leg: protocol.ServerLeg, Bytes: b[:1]},
			protocol.Action{Kind: protocol.Ask, Op: &c.op})
	case len(b) == 1 && c.asked:
		return 1, append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ServerLeg, Bytes: b})
	}
	return 0, to
}

// What goes before a decision that is made at once leaves with what comes
// after it; what goes before one that takes its time does not wait for it.
func TestWhatIsDecidedAtOnceLeavesInOneWrite(t *testing.T) {
	s := sitIn(t, &book{}, &pipelined{}, nil)
	s.say(t, "ab")
	if err := s.server.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8)
	if n, err := s.server.Read(got); err != nil || string(got[:n]) != "ab" {
		t.Fatalf("the server read %q, %v", got[:n], err)
	}
}

func TestWhatGoesBeforeAHoldDoesNotWait(t *testing.T) {
	release := make(chan struct{})
	s := sitIn(t, &book{decide: func(context.Context, func(protocol.Waiting)) (protocol.Decision, error) {
		<-release
		return protocol.Decision{Effect: protocol.Allow}, nil
	}}, &pipelined{}, nil)
	s.say(t, "ab")
	read(t, s.server, "a")
	close(release)
	read(t, s.server, "b")
}

func TestLegThatIsNoSocketIsAnError(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	err := protocol.NewPump(&protocol.Conn{Client: far, Guard: &book{}}, &lines{}, 64<<10).Run(t.Context())
	if err == nil || errors.Is(err, context.Canceled) {
		t.Fatalf("a pipe gave %v", err)
	}
}
