package broker

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/attribution"
)

// serving is a proxy that has begun and takes connections.
func serving(t *testing.T) (*proxy, *Client) {
	t.Helper()
	p, client := joined(t, Files{}, attribution.Local(attribution.Config{}))
	begun, err := client.Begin(t.Context())
	must(t, err)
	if begun.Baton != nil || begun.Stream != nil {
		t.Errorf("it begins with %+v", begun)
	}
	p.appoint(p)
	return p, client
}

func change(t *testing.T, c *Client) Change {
	t.Helper()
	select {
	case asked := <-c.Changes():
		return asked
	case <-time.After(patience):
		t.Fatal("nothing is asked for")
	}
	return Change{}
}

// leaves lets a proxy hand its records over.
func leaves(t *testing.T, p *proxy, client *Client) {
	t.Helper()
	batons := make(chan string, 1)
	go func() {
		baton, err := p.HandOver(t.Context())
		batons <- string(baton)
		if err != nil {
			t.Error(err)
		}
	}()
	if asked := change(t, client); asked.Kind != Leave {
		t.Errorf("asked for %+v", asked)
	}
	must(t, client.Left([]byte("baton")))
	if got := <-batons; got != "baton" {
		t.Errorf("the baton is %q", got)
	}
}

func TestRetiredProxyWritesToItsSuccessor(t *testing.T) {
	p, client := serving(t)
	leaves(t, p, client)
	ours, theirs, err := Streams()
	must(t, err)
	defer unix.Close(theirs)
	p.Retire(ours)
	must(t, unix.Close(ours))
	asked := change(t, client)
	if asked.Kind != Retire || asked.Stream == nil {
		t.Fatalf("asked for %+v", asked)
	}
	_, err = asked.Stream.Write([]byte("record"))
	must(t, errors.Join(err, asked.Stream.Close()))
	got := make([]byte, 16)
	if n, err := unix.Read(theirs, got); err != nil || string(got[:n]) != "record" {
		t.Errorf("the successor reads %q, %v", got[:n], err)
	}
	if err := client.Run(t.Context()); !errors.Is(err, ErrRetired) {
		t.Errorf("it goes on accepting: %v", err)
	}
	if p.replace(t.Context()) {
		t.Error("a retired proxy is replaced")
	}
}

func TestProxyGoesOnWhenNobodyTookOver(t *testing.T) {
	p, client := serving(t)
	for range 2 {
		leaves(t, p, client)
		p.Return()
		if asked := change(t, client); asked.Kind != Return {
			t.Errorf("asked for %+v", asked)
		}
		if !p.replace(t.Context()) {
			t.Error("it is not replaced when it dies")
		}
	}
}

func TestProxyThatDiesWhileLeavingIsReplacedOnceThatIsDecided(t *testing.T) {
	p, client := serving(t)
	leaves(t, p, client)
	early, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if p.replace(early) {
		t.Error("two proxies would write the records")
	}
	decided := make(chan bool)
	go func() { decided <- p.replace(t.Context()) }()
	p.Return()
	if !<-decided {
		t.Error("nobody serves")
	}
}

func TestProxyThatIsHeldWaitsForWhatAnotherLeaves(t *testing.T) {
	p, client := joined(t, Files{}, attribution.Local(attribution.Config{}))
	p.Hold()
	began := make(chan Inheritance, 1)
	go func() {
		begun, err := client.Begin(t.Context())
		if err != nil {
			t.Error(err)
		}
		began <- begun
	}()
	<-p.Able()
	select {
	case <-began:
		t.Fatal("it opens the records that another writes")
	case <-time.After(20 * time.Millisecond):
	}
	ours, theirs, err := Streams()
	must(t, err)
	must(t, p.Release([]byte("baton"), ours))
	must(t, unix.Close(ours))
	begun := <-began
	if string(begun.Baton) != "baton" {
		t.Errorf("the baton is %q", begun.Baton)
	}
	must(t, unix.Close(theirs))
	if _, err := begun.Stream.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the stream is another: %v", err)
	}
}

// TestSuccessorThatDoesNotComeIsGivenUp plays predecessors of programs that are
// no agents.
func TestSuccessorThatDoesNotComeIsGivenUp(t *testing.T) {
	for role, why := range map[string]string{"nothing": "has ended", "forger": "malformed"} {
		what := ""
		if role == "forger" {
			what = "no hello"
		}
		_, err := StartSuccessor(t.Context(), player(role, what), 0)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", role, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := StartSuccessor(ctx, player("mute"), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that says nothing: %v", err)
	}
}
