package audit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/pkg/workload"
)

// sessionOf opens a session of the workload in a network namespace.
func sessionOf(t *testing.T, l *audit.Log, id string, netns uint64) *audit.Session {
	t.Helper()
	s, err := l.Session(&session.Session{
		ID: id, Resource: "shop-db", Protocol: "postgres", Started: time.Now(),
		Workload: workload.Workload{Kernel: workload.KernelFacts{NetnsCookie: netns}},
	})
	must(t, err)
	return s
}

// large is an operation whose record takes some 20 KB.
func large(id uint64) *operation.Operation {
	return &operation.Operation{ID: id, Text: operation.Text(strings.Repeat("y", 20_000))}
}

func fill(t *testing.T, s *audit.Session) (written int, err error) {
	t.Helper()
	for err == nil && written < 10_000 {
		if err = s.Intent(large(uint64(written+1)), record.Intent{Effect: "allow"}, false); err == nil {
			written++
		}
	}
	return written, err
}

func TestOneJobCannotFillTheSpoolForOthers(t *testing.T) {
	c := newCollector(t, newKeys(t))
	c.set(func() { c.away = true })
	r := startSized(t, t.TempDir(), c, 512<<10, 8<<20)
	greedy, other := sessionOf(t, r.Log, "greedy", 1), sessionOf(t, r.Log, "other", 2)
	written, err := fill(t, greedy)
	if !errors.Is(err, audit.ErrShare) {
		t.Fatalf("after %d records: %v", written, err)
	}
	again := sessionOf(t, r.Log, "again", 1)
	if err := again.Intent(large(1), record.Intent{Effect: "allow"}, false); !errors.Is(err, audit.ErrShare) {
		t.Errorf("a new session of the same job: %v", err)
	}
	must(t, again.Close(record.Closed{}))
	for i := range 50 {
		must(t, other.Intent(large(uint64(i+1)), record.Intent{Effect: "allow"}, false))
	}
	// What began is recorded to its end.
	must(t, greedy.Outcome(1, record.Outcome{Status: "ok"}))

	c.set(func() { c.away = false })
	r.Connected()
	eventually(t, "the job's share is given back", func() bool {
		return greedy.Intent(large(20_000), record.Intent{Effect: "allow"}, false) == nil
	})
	must(t, greedy.Close(record.Closed{}))
	must(t, other.Close(record.Closed{}))
	must(t, r.stop())
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
	if !hasAlert(c.headers(t), "spool-full") {
		t.Error("nothing in the trail says that records were refused")
	}
}

func hasAlert(headers []record.Header, kind string) bool {
	for _, h := range headers {
		if h.Alert != nil && h.Alert.Kind == kind {
			return true
		}
	}
	return false
}

func TestWhereFullMeansForwardTheLossIsStated(t *testing.T) {
	c := newCollector(t, newKeys(t))
	c.set(func() { c.away = true })
	r := startWith(t, t.TempDir(), c, 512<<10, 2<<20, func(cfg *audit.Config) { cfg.OnFull = audit.Forward })
	s := sessionOf(t, r.Log, "s", 1)
	const all = 200
	for i := range all {
		must(t, s.Intent(large(uint64(i+1)), record.Intent{Effect: "allow"}, i%2 == 0))
	}
	c.set(func() { c.away = false })
	r.Connected()
	eventually(t, "receipts", func() bool { return r.Pending() == 0 })
	must(t, s.Close(record.Closed{}))
	must(t, r.stop())
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	found := strings.Fields(codes(report)) // one for each batch that states a loss
	other := func(code string) bool { return code != string(translog.RecordsDropped) }
	if len(found) == 0 || slices.ContainsFunc(found, other) {
		t.Errorf("findings: %q", found)
	}
	var dropped, intents uint64
	for _, b := range c.stored {
		note, err := translog.PeekBatch(b.Note)
		must(t, err)
		dropped += note.Drops
	}
	for _, h := range c.headers(t) {
		if h.Intent != nil {
			intents++
		}
	}
	if dropped == 0 || dropped+intents != all {
		t.Errorf("%d recorded and %d stated as dropped of %d", intents, dropped, all)
	}
	if !hasAlert(c.headers(t), "spool-full") {
		t.Error("no alert")
	}
}

func TestRemoteWaitsForTheReceipt(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := startWith(t, t.TempDir(), c, 512<<10, 8<<20, func(cfg *audit.Config) { cfg.Remote = true })
	s := sessionOf(t, r.Log, "s", 1)
	for i := range 5 {
		must(t, s.Intent(large(uint64(i+1)), record.Intent{Effect: "allow"}, true))
		intents := 0
		for _, h := range c.headers(t) {
			if h.Intent != nil {
				intents++
			}
		}
		if intents != i+1 {
			t.Fatalf("intent %d came back with %d in the collector", i+1, intents)
		}
	}
	c.set(func() { c.away = true })
	if err := s.Intent(large(9), record.Intent{Effect: "allow"}, true); !errors.Is(err, audit.ErrUnreceived) {
		t.Errorf("with the collector away: %v", err)
	}
}

func TestLoadIsRecordedWholeOrRefused(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := startSized(t, t.TempDir(), c, 512<<10, 16<<20)
	s := sessionOf(t, r.Log, "s", 1)
	must(t, s.Intent(&operation.Operation{ID: 1, Text: operation.Text("COPY t FROM STDIN")}, record.Intent{Effect: "allow"}, true))
	const load = 1 << 20
	for range load / (64 << 10) {
		must(t, s.Chunk(1, "request", 0, []byte(strings.Repeat("1\tx\n", 64<<10/4))))
	}
	must(t, s.Outcome(1, record.Outcome{Status: "ok"}))
	eventually(t, "all of the load is in the log", func() bool {
		kept := int64(0)
		for _, h := range c.headers(t) {
			if h.Chunk != nil && h.Chunk.Digest == "" {
				kept += h.Chunk.Size
			}
		}
		return kept == load
	})
	eventually(t, "receipts", func() bool { return r.Pending() == 0 })
	c.set(func() { c.away = true })
	var err error
	written := 0
	for ; err == nil && written < 1000; written++ {
		err = s.Chunk(2, "request", 0, make([]byte, 64<<10))
	}
	if !errors.Is(err, audit.ErrShare) {
		t.Errorf("after %d pieces: %v", written, err)
	}
}
