package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// lines is a toy protocol: each line of the client is an operation, and what
// the server sends is relayed as it comes. "boom" panics, "think" takes long.
type lines struct {
	dialled bool
	allowed bool
	slow    bool          // it said so
	thought chan struct{} // closed when "think" may go on
	op      protocol.Pending
}

func (c *lines) Feed(from protocol.Leg, b []byte, to []protocol.Action) (int, []protocol.Action) {
	if from == protocol.ServerLeg {
		if len(b) > 0 {
			to = append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: b, Op: &c.op})
			if bytes.HasSuffix(b, []byte("last\n")) {
				c.op.Outcome.Status = protocol.OK
				to = append(to, protocol.Action{Kind: protocol.Done, Op: &c.op})
			}
		}
		return len(b), to
	}
	if !c.dialled {
		c.dialled = true
		return 0, append(to, protocol.Action{Kind: protocol.Dial})
	}
	end := bytes.IndexByte(b, '\n') + 1
	switch {
	case end == 0:
		return 0, to
	case bytes.HasPrefix(b, []byte("boom")):
		panic("boom")
	case bytes.HasPrefix(b, []byte("think")) && !c.slow:
		c.slow = true
		return 0, append(to, protocol.Action{Kind: protocol.Slow})
	case bytes.HasPrefix(b, []byte("think")):
		<-c.thought
	case !c.allowed:
		c.op = protocol.Pending{Operation: operation.Operation{Text: operation.Text(b[:end])}}
		return 0, append(to, protocol.Action{Kind: protocol.Ask, Op: &c.op})
	}
	c.allowed = false
	return end, append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ServerLeg, Bytes: b[:end]})
}

func (c *lines) Decided(d protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	c.allowed = d.Effect == protocol.Allow
	if !c.allowed {
		return append(to, protocol.Action{Kind: protocol.End, Err: err})
	}
	return to
}

func (c *lines) Waiting(why protocol.Waiting, to []protocol.Action) []protocol.Action {
	return append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: []byte("wait " + why.Reason + "\n")})
}

func (c *lines) Changed(leg protocol.Leg, change protocol.Change, to []protocol.Action) []protocol.Action {
	switch {
	case change == protocol.Opened:
		return to
	case change == protocol.Stopped:
		return append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: []byte("stopped\n")})
	case leg == protocol.ClientLeg:
		return append(to, protocol.Action{Kind: protocol.CloseWrite, Leg: protocol.ServerLeg})
	}
	return append(to, protocol.Action{Kind: protocol.End})
}

// book is a guard that keeps what it is told, and may fail to.
type book struct {
	decide    func(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error)
	recordErr error

	mu       sync.Mutex
	outcomes []protocol.Outcome // guarded by mu
	chunks   []string           // guarded by mu; those that came alone
	finished []string           // guarded by mu; those that came with an outcome
}

func (b *book) Begin(context.Context, *operation.Operation) (protocol.Exchange, error) { return b, nil }

func (b *book) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if b.decide != nil {
		return b.decide(ctx, waiting)
	}
	return protocol.Decision{Effect: protocol.Allow}, nil
}

func (b *book) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{Effect: protocol.Allow}, b.decide == nil, nil
}

func (b *book) Digested(stream protocol.Stream, at time.Duration, chunk []byte, _ func() string) error {
	return b.Record(stream, at, chunk)
}

func (b *book) Record(_ protocol.Stream, _ time.Duration, chunk []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunks = append(b.chunks, string(chunk))
	return b.recordErr
}

func (b *book) Finish(_ time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if b.recordErr != nil {
		return b.recordErr
	}
	b.mu.Lock()
	b.finished = append(b.finished, string(chunk))
	b.mu.Unlock()
	return b.Done(outcome)
}

func (b *book) Done(outcome protocol.Outcome) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcomes = append(b.outcomes, outcome)
	return nil
}

// sitting is one session of the toy protocol.
type sitting struct {
	client, server net.Conn
	end, stop      func()
	ended          chan error
}

func sit(t *testing.T, guard protocol.Guard) *sitting {
	t.Helper()
	return sitIn(t, guard, &lines{}, nil)
}

func sitIn(t *testing.T, guard protocol.Guard, conv protocol.Conversation, loop *protocol.Loop) *sitting {
	t.Helper()
	near, far := tcpPair(t)
	ours, theirs := tcpPair(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	t.Cleanup(func() { cancel(nil) })
	s := &sitting{
		client: near, server: theirs, ended: make(chan error, 1),
		end: func() { cancel(nil) }, stop: func() { cancel(protocol.ErrStopped) },
	}
	pump := protocol.NewPump(&protocol.Conn{
		Client: far,
		Dial:   func(context.Context) (net.Conn, error) { return ours, nil },
		Guard:  guard,
		Log:    zap.NewNop(),
		Loop:   loop,
	}, conv, 64<<10)
	go func() { s.ended <- pump.Run(ctx) }()
	return s
}

func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // one connection is all it was for
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() }) // most tests have closed them
	return a, b
}

func (s *sitting) say(t *testing.T, text string) {
	t.Helper()
	if _, err := s.client.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func (s *sitting) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the session goes on")
		return nil
	}
}

func read(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("the leg is open")
	}
}

func TestPanicEndsItsSessionOnly(t *testing.T) {
	s := sit(t, &book{})
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	s.say(t, "boom\n")
	var violation *protocol.Violation
	if err := s.wait(t); !errors.As(err, &violation) {
		t.Fatalf("the session ended with %v", err)
	}
	wantClosed(t, s.client)
	wantClosed(t, s.server)
}

func TestContextEndClosesBothLegs(t *testing.T) {
	s := sit(t, &book{})
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	s.end()
	if err := s.wait(t); err != nil {
		t.Fatalf("the session ended with %v", err)
	}
	wantClosed(t, s.client)
	wantClosed(t, s.server)
}

func TestOpenOperationIsAbandonedOnce(t *testing.T) {
	guard := &book{}
	s := sit(t, guard)
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	s.end()
	if err := s.wait(t); err != nil {
		t.Fatal(err)
	}
	if len(guard.outcomes) != 1 || guard.outcomes[0].Status != protocol.Abandoned {
		t.Fatalf("the outcomes are %+v", guard.outcomes)
	}
}

func TestNothingIsForwardedThatIsNotRecorded(t *testing.T) {
	for _, answer := range []string{"answer\n", "last\n"} {
		t.Run(strings.TrimSpace(answer), func(t *testing.T) { forwardsNothing(t, answer) })
	}
}

func forwardsNothing(t *testing.T, answer string) {
	t.Helper()
	full := errors.New("the disk is full")
	s := sit(t, &book{recordErr: full})
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	if _, err := s.server.Write([]byte(answer)); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t); !errors.Is(err, full) {
		t.Fatalf("the session ended with %v", err)
	}
	if got, _ := io.ReadAll(s.client); len(got) > 0 {
		t.Fatalf("the client received %q", got)
	}
}

func TestLastChunkAndOutcomeAreOneRecord(t *testing.T) {
	guard := &book{}
	s := sit(t, guard)
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	for _, answer := range []string{"answer\n", "last\n"} {
		if _, err := s.server.Write([]byte(answer)); err != nil {
			t.Fatal(err)
		}
		read(t, s.client, answer)
	}
	s.end()
	if err := s.wait(t); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(guard.chunks, []string{"answer\n"}) || !slices.Equal(guard.finished, []string{"last\n"}) {
		t.Fatalf("recorded alone %q, with an outcome %q", guard.chunks, guard.finished)
	}
	if len(guard.outcomes) != 1 || guard.outcomes[0].Status != protocol.OK {
		t.Fatalf("the outcomes are %+v", guard.outcomes)
	}
}

func TestHalfCloseIsRelayed(t *testing.T) {
	s := sit(t, &book{})
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	if err := s.client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, s.server)
	if _, err := s.server.Write([]byte("late answer\n")); err != nil {
		t.Fatal(err)
	}
	read(t, s.client, "late answer\n")
	if err := s.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t); err != nil {
		t.Fatal(err)
	}
}

// A client that writes without reading, to a server that does the same, must
// not make them wait for each other through us.
func TestClientThatDoesNotReadStopsNothingElse(t *testing.T) {
	s := sit(t, &book{})
	s.say(t, "hello\n")
	read(t, s.server, "hello\n")
	flood := make(chan error, 1)
	go func() {
		_, err := io.CopyN(s.server, endless{}, 16<<20)
		flood <- err
	}()
	for range 1000 {
		s.say(t, "more\n")
		read(t, s.server, "more\n")
	}
	if n, err := io.CopyN(io.Discard, s.client, 16<<20); err != nil {
		t.Fatalf("the client read %d bytes, %v", n, err)
	}
	if err := <-flood; err != nil {
		t.Fatal(err)
	}
}

// endless reads as zeros for ever.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestLineWithoutEndIsAViolation(t *testing.T) {
	s := sit(t, &book{})
	go func() { _, _ = io.CopyN(s.client, endless{}, 1<<20) }() // the session ends before all is written
	var violation *protocol.Violation
	if err := s.wait(t); !errors.As(err, &violation) {
		t.Fatalf("the session ended with %v", err)
	}
}

func TestClientThatLeavesEndsTheWait(t *testing.T) {
	s := sit(t, &book{decide: func(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
		waiting(protocol.Waiting{Reason: "for ann"})
		<-ctx.Done()
		return protocol.Decision{Effect: protocol.Allow}, nil // too late
	}})
	s.say(t, "hello\n")
	read(t, s.client, "wait for ann\n")
	s.say(t, "read ahead\n")
	if err := s.client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t); !errors.Is(err, protocol.ErrClientGone) {
		t.Fatalf("the session ended with %v", err)
	}
	if got, _ := io.ReadAll(s.server); len(got) > 0 {
		t.Fatalf("the server received %q", got)
	}
}
