package mysql_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// holds has statements with the word "held" wait until let is closed or their
// wait ends. begun counts them.
func holds(let <-chan struct{}, begun *atomic.Int32) decider {
	return func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) (protocol.Decision, error) {
		if op.Kind != operation.Statement || !bytes.Contains(op.Text.Reveal(), []byte("held")) {
			return protocol.Decision{Effect: protocol.Allow}, nil
		}
		waiting(protocol.Waiting{Approval: 7, Rule: "ask", Reason: "A person decides."})
		begun.Add(1)
		select {
		case <-let:
			return protocol.Decision{Effect: protocol.Allow, Approval: 7, Decider: "ada"}, nil
		case <-ctx.Done():
			return protocol.Decision{}, ctx.Err()
		}
	}
}

// within waits until something is true, and reports whether that came about.
func within(most time.Duration, done func() bool) bool {
	tick, over := time.NewTicker(10*time.Millisecond), time.After(most)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-over:
			return false
		}
	}
	return true
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	if !within(time.Minute, done) {
		t.Fatalf("%s did not come about", what)
	}
}

func TestAHeldStatementRunsOnceItIsApproved(t *testing.T) {
	s := realServer(t)
	let, begun := make(chan struct{}), atomic.Int32{}
	p := startProxy(t, s, proxyOptions{decide: holds(let, &begun)})
	db := p.open(t, "")
	answered := make(chan error, 1)
	go func() {
		var n int
		answered <- db.QueryRow("SELECT 1 /* held until approved */").Scan(&n)
	}()
	eventually(t, "the hold", func() bool { return begun.Load() == 1 })
	if strings.Contains(s.log(t), "held until approved") {
		t.Error("the server has seen a statement that is held")
	}
	close(let)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestKillQueryWithdrawsAHold(t *testing.T) {
	s := realServer(t)
	begun := atomic.Int32{}
	p := startProxy(t, s, proxyOptions{decide: holds(nil, &begun)})
	c := p.raw(t)
	c.send(t, 0, append([]byte{3}, "SELECT 1 /* held and withdrawn */"...))
	eventually(t, "the hold", func() bool { return begun.Load() == 1 })
	other := p.raw(t)
	kill := []byte{12, byte(c.thread), byte(c.thread >> 8), byte(c.thread >> 16), byte(c.thread >> 24)}
	if answer := other.command(t, kill); answer[0] != 0 {
		t.Errorf("the KILL is answered %q", answer)
	}
	if answer := c.packet(t); answer[0] != 0xff || !bytes.Contains(answer, []byte("70100Query execution was interrupted")) {
		t.Errorf("the statement is answered %q", answer)
	}
	if answer := c.command(t, []byte{14}); answer[0] != 0 {
		t.Errorf("the session does not go on: %q", answer)
	}
	if strings.Contains(s.log(t), "held and withdrawn") {
		t.Error("the server has seen it")
	}
}

func TestAClientThatLeavesWithdrawsItsHold(t *testing.T) {
	s := realServer(t)
	begun := atomic.Int32{}
	p := startProxy(t, s, proxyOptions{decide: holds(nil, &begun)})
	c := p.raw(t)
	c.send(t, 0, append([]byte{3}, "SELECT 1 /* held and left */"...))
	eventually(t, "the hold", func() bool { return begun.Load() == 1 })
	_ = c.Close()
	if err := <-p.errs; err != nil {
		t.Error(err)
	}
}

func TestKillReachesTheOwnSessionsOfTheJobAndNoOther(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	c := p.raw(t)
	c.send(t, 0, append([]byte{3}, "SELECT SLEEP(60) /* to be killed */"...))
	eventually(t, "the query", func() bool { return strings.Contains(s.log(t), "/* to be killed */") })
	other := p.raw(t)
	kill := []byte{12, byte(c.thread), byte(c.thread >> 8), byte(c.thread >> 16), byte(c.thread >> 24)}
	if answer := other.command(t, kill); answer[0] != 0 {
		t.Errorf("the KILL is answered %q", answer)
	}
	foreign, err := s.query("SELECT ID FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()")
	if err != nil {
		t.Fatal(err)
	}
	var id uint32
	if _, err := fmt.Sscan(foreign, &id); err != nil {
		t.Fatal(err)
	}
	for _, stranger := range []uint32{id, 1, 0, 0xffffffff} {
		kill := []byte{12, byte(stranger), byte(stranger >> 8), byte(stranger >> 16), byte(stranger >> 24)}
		if answer := other.command(t, kill); answer[0] != 0xff || !bytes.Contains(answer, []byte("this job has no connection of that number")) {
			t.Errorf("a KILL of connection %d is answered %q", stranger, answer)
		}
	}
}

// TestNoFormOfKillReachesAStranger: prepared, several at once, in a text that
// nobody understands.
func TestNoFormOfKillReachesAStranger(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	victim := p.open(t, "")
	var id int
	if err := victim.QueryRow("SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	other := startProxy(t, s, proxyOptions{}) // a plug-in that knows nothing of it
	db := other.open(t, "multiStatements=true")
	for _, statement := range []string{
		"KILL %d", "KILL QUERY %d", "KILL /* x */ %d", "SELECT 1; KILL %d", "KILL %d; SELECT 1", "PREPARE s FROM 'KILL %d'; EXECUTE s",
		"EXECUTE IMMEDIATE 'KILL %d'", "KILL (SELECT %d)", "KILL %d + 0", "KILL USER app, %d", "kill hard connection %d",
	} {
		statement = fmt.Sprintf(statement, id)
		runAll(db, statement)
		runPrepared(db, statement)
	}
	if _, err := db.Exec("SET sql_mode = 'ORACLE'"); err != nil {
		t.Fatal(err)
	}
	runAll(db, fmt.Sprintf("KILL %d", id))
	var again int
	if err := victim.QueryRow("SELECT CONNECTION_ID()").Scan(&again); err != nil || again != id {
		t.Errorf("the connection is %d, was %d: %v", again, id, err)
	}
}

func TestWhatBreaksTheProtocolEndsTheSession(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	for name, send := range map[string]func(c *raw){
		"a wrong sequence number": func(c *raw) { c.send(t, 3, []byte{14}) },
		"an empty packet":         func(c *raw) { c.send(t, 0, nil) },
		"a message of 16 MiB":     func(c *raw) { _, _ = c.Write([]byte{0xff, 0xff, 0xff, 0, 3}) },
		"an execute that lies": func(c *raw) {
			id := c.command(t, append([]byte{22}, "SELECT ?"...))[1:5] // a server that uses a thread again counts on
			c.drain(t)
			c.send(t, 0, append(append([]byte{23}, id...), 0, 1, 0, 0, 0, 0, 1, 253))
		},
	} {
		c := p.raw(t)
		send(c)
		if answer := c.packet(t); answer[0] != 0xff {
			t.Errorf("%s is answered %q", name, answer)
		}
		if err := <-p.errs; err == nil {
			t.Errorf("%s ends without an error", name)
		}
	}
}

func TestSoManyPreparedStatementsAreRefused(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{statements: 16})
	c := p.raw(t)
	for range 16 {
		if answer := c.command(t, append([]byte{22}, "SELECT 1"...)); answer[0] != 0 {
			t.Fatalf("got %q", answer)
		}
		c.packet(t)
		c.packet(t)
	}
	for range 3 {
		if answer := c.command(t, append([]byte{22}, "SELECT 1"...)); answer[0] != 0xff || !bytes.Contains(answer, []byte("too many prepared statements")) {
			t.Fatalf("got %q", answer)
		}
	}
	if answer := c.command(t, []byte{14}); answer[0] != 0 {
		t.Errorf("the session does not go on: %q", answer)
	}
}
