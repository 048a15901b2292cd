package agent

import (
	"context"
	"testing"
	"time"
)

func TestSessionsOfOneWorkloadBeginInTurn(t *testing.T) {
	p, now := newPace(time.Second, 3), time.Now()
	for i, want := range []time.Duration{0, 0, 0, time.Second, 2 * time.Second} {
		if got := p.turn(1, now); got != want {
			t.Errorf("session %d waits %v, want %v", i, got, want)
		}
	}
	if got := p.turn(2, now); got != 0 {
		t.Errorf("another workload waits %v", got)
	}
	rested := now.Add(time.Hour)
	for i := range 3 {
		if got := p.turn(1, rested); got != 0 {
			t.Errorf("after a rest, session %d waits %v", i, got)
		}
	}
	if got := p.turn(1, rested); got != time.Second {
		t.Errorf("a rest is good for more than a burst: %v", got)
	}
}

func TestPaceForgetsWorkloadsAtRest(t *testing.T) {
	p, now := newPace(time.Millisecond, 1), time.Now()
	for netns := range uint64(10 * maxPaced) {
		now = now.Add(time.Millisecond)
		p.turn(netns, now)
	}
	if len(p.next) > maxPaced {
		t.Errorf("%d workloads are remembered", len(p.next))
	}
}

func TestWaitForATurnEndsWithTheAgent(t *testing.T) {
	p := newPace(time.Hour, 1)
	ctx, stop := context.WithCancel(t.Context())
	if !p.wait(ctx, 1) {
		t.Error("the first has no turn")
	}
	stop()
	if p.wait(ctx, 1) {
		t.Error("the second had a turn")
	}
}
