package audit_test

import (
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// busy writes records of some sessions, durable ones among them, until it is
// told to stop, and returns how many operations there were.
func busy(t *testing.T, l *audit.Log) (stop func() int) {
	t.Helper()
	ending := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for n := range 4 {
		s := openSession(t, l, fmt.Sprintf("s%d", n))
		all.Go(func() {
			for id := uint64(1); ; id++ {
				select {
				case <-ending:
					must(t, s.Close(record.Closed{Reason: "client"}))
					return
				default:
				}
				op := operation.Operation{ID: id, Kind: operation.Statement, Text: operation.Text("SELECT 1")}
				must(t, s.Intent(&op, record.Intent{Kind: "statement", Parsed: true, Effect: "allow", Policy: "00"}, id%2 == 0))
				must(t, s.Finish(id, time.Millisecond, []byte("answer"), record.Outcome{Status: "ok", Rows: 1}))
				mu.Lock()
				total++
				mu.Unlock()
			}
		})
	}
	return func() int {
		close(ending)
		all.Wait()
		return total
	}
}

// streams are the two ends of a stream between processes.
func streams(t *testing.T) (one, other net.Conn) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer listener.Close()
	one, err = net.Dial("unix", listener.Addr().String())
	must(t, err)
	other, err = listener.Accept()
	must(t, err)
	return one, other
}

// handOver ends a log's own writing, and returns what carries it on.
func handOver(t *testing.T, r *run) *audit.Baton {
	t.Helper()
	baton, err := r.HandOver()
	must(t, err)
	must(t, r.spool.Close())
	return &baton
}

// settled lets operations be written for a while.
func settled() { <-time.After(100 * time.Millisecond) }

// checkAll counts the operations in the collector's log, and verifies it.
func checkAll(t *testing.T, c *collector, operations int) {
	t.Helper()
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
	intents := 0
	for _, h := range c.headers(t) {
		if h.Intent != nil {
			intents++
		}
	}
	if intents != operations || operations == 0 {
		t.Errorf("the log has %d of %d operations", intents, operations)
	}
}

func TestSessionsGoOnInAnotherProcessesLog(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("collector away %v", away), func(t *testing.T) {
			c, dir := newCollector(t, newKeys(t)), t.TempDir()
			c.set(func() { c.away = away })
			old := start(t, dir, c)
			stop := busy(t, old.Log)
			settled()
			baton := handOver(t, old)
			settled() // nobody writes, and nobody fails
			l, sp := carryOn(t, dir, c, 1<<20, 64<<20, baton)
			next := startLog(t, c, l, sp)
			ours, theirs := streams(t)
			served := make(chan error, 1)
			go func() { served <- next.Serve(theirs) }()
			remote := audit.NewRemote(ours)
			old.Follow(remote)
			own := openSession(t, next.Log, "new")
			query(t, own, 1, "SELECT 2")
			settled()
			operations := stop() + 1
			must(t, remote.Close())
			must(t, <-served)
			c.set(func() { c.away = false })
			must(t, next.stop())
			checkAll(t, c, operations)
		})
	}
}

func TestLogIsTakenBackWhenItsHeirFails(t *testing.T) {
	c, dir := newCollector(t, newKeys(t)), t.TempDir()
	old := start(t, dir, c)
	stop := busy(t, old.Log)
	settled()
	baton := handOver(t, old)
	failing, sp := carryOn(t, dir, c, 1<<20, 64<<20, baton) // and dies
	_ = failing
	must(t, sp.Close())
	l, sp := carryOn(t, dir, c, 1<<20, 64<<20, baton)
	again := startLog(t, c, l, sp)
	old.Follow(again.Log)
	settled()
	operations := stop()
	must(t, again.stop())
	checkAll(t, c, operations)
}

func TestRecordThatNobodyTakesIsAnError(t *testing.T) {
	c, dir := newCollector(t, newKeys(t)), t.TempDir()
	old := start(t, dir, c)
	s := openSession(t, old.Log, "s")
	handOver(t, old)
	ours, theirs := streams(t)
	remote := audit.NewRemote(ours)
	old.Follow(remote)
	must(t, theirs.Close())
	op := operation.Operation{ID: 1, Kind: operation.Statement, Text: operation.Text("SELECT 1")}
	for _, durable := range []bool{false, true} {
		if s.Intent(&op, record.Intent{Kind: "statement", Parsed: true, Effect: "allow", Policy: "00"}, durable) == nil {
			t.Error("an intent was written nowhere")
		}
	}
	if _, err := old.HandOver(); err == nil {
		t.Error("a log was handed over twice")
	}
}

func TestForeignEpochIsNotCarriedOn(t *testing.T) {
	c, dir := newCollector(t, newKeys(t)), t.TempDir()
	old := start(t, dir, c)
	handOver(t, old)
	for name, baton := range map[string]audit.Baton{"none": {}, "another": {Epoch: record.Epoch{1}}} {
		if err := reopen(t, dir, c, baton); err == nil {
			t.Errorf("%s: it is", name)
		}
	}
}

func TestWhatIsNoRecordEndsTheStream(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	for name, request := range map[string]string{
		"too long": "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"cut off":  "\x10\x00\x00\x00",
		"half":     "\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00half",
	} {
		ours, theirs := streams(t)
		served := make(chan error, 1)
		go func() { served <- r.Serve(theirs) }()
		_, err := ours.Write([]byte(request))
		must(t, err)
		must(t, ours.(*net.UnixConn).CloseWrite())
		if <-served == nil {
			t.Errorf("%s: it goes on", name)
		}
		must(t, ours.Close())
	}
}
