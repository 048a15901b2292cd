package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

func TestRecordsReachTheLogAndVerify(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	s := openSession(t, r.Log, "s1")
	other := openSession(t, r.Log, "s2")
	for i := range 10 {
		query(t, s, uint64(i+1), fmt.Sprintf("SELECT %d", i))
		query(t, other, uint64(i+1), "SELECT 'other'")
	}
	must(t, s.Close(record.Closed{Reason: "client"}))
	must(t, r.stop())

	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	expectOK(t, report)
	if report.Records != 1+2+60+1 || report.Sessions != 2 {
		t.Errorf("got %d records of %d sessions, want 64 of 2", report.Records, report.Sessions)
	}
	part := c.verify(t, translog.Scope{Kind: translog.OneSession, Session: "s1"})
	expectOK(t, part)
	if part.Records != 32 || part.Hidden != 32 {
		t.Errorf("got %d records and %d hidden, want 32 and 32", part.Records, part.Hidden)
	}
	for name, file := range c.export(t, translog.Scope{Kind: translog.OneSession, Session: "s1"}) {
		if bytes.Contains(file.Data, []byte("'other'")) {
			t.Errorf("%s of session s1's bundle holds the other session's statement", name)
		}
	}
	headers := c.headers(t)
	closing := headers[len(headers)-1].Closed
	if closing == nil || closing.Records != 32 || closing.Operations != 10 || closing.Reason != "client" {
		t.Errorf("got closing %+v", closing)
	}
}

func TestCrashLosesNoRecordAndStartsLinkedEpoch(t *testing.T) {
	c := newCollector(t, newKeys(t))
	dir := t.TempDir()
	c.set(func() { c.away = true })
	r := start(t, dir, c)
	s := openSession(t, r.Log, "s1")
	for i := range 100 {
		query(t, s, uint64(i+1), "SELECT 1")
	}
	r.crash()

	c.set(func() { c.away = false })
	r = start(t, dir, c)
	must(t, r.stop())
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
	intents := 0
	for _, h := range c.headers(t) {
		if h.Intent != nil {
			intents++
		}
	}
	if intents != 100 {
		t.Errorf("got %d intents, want 100", intents)
	}
}

func TestRestartAfterSealBoots(t *testing.T) {
	c := newCollector(t, newKeys(t))
	dir := t.TempDir()
	for range 3 {
		r := start(t, dir, c)
		query(t, openSession(t, r.Log, "s"), 1, "SELECT 1")
		must(t, r.stop())
	}
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	expectOK(t, report)
	last, err := translog.PeekBatch(c.stored[len(c.stored)-1].Note)
	must(t, err)
	if !last.Seal || last.Reason != record.Boot {
		t.Errorf("got %+v, want a seal of a boot epoch", last)
	}
}

func TestLostReceiptsAreAskedFor(t *testing.T) {
	c := newCollector(t, newKeys(t))
	c.set(func() { c.mute = true })
	r := start(t, t.TempDir(), c)
	query(t, openSession(t, r.Log, "s1"), 1, "SELECT 1")
	eventually(t, "the batch arrives", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.size > 0 })
	r.Connected()
	eventually(t, "the receipt comes by sync", func() bool { return r.Pending() == 0 })
	c.set(func() { c.mute = false })
	must(t, r.stop())
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
}

func TestEverythingArrivesOnceAfterTheBusWasAway(t *testing.T) {
	c := newCollector(t, newKeys(t))
	c.set(func() { c.away = true })
	r := startSized(t, t.TempDir(), c, 256<<10+128<<10, 16<<20)
	s := openSession(t, r.Log, "s1")
	for i := range 3000 {
		query(t, s, uint64(i+1), "SELECT "+strings.Repeat("x", 200))
	}
	full := r.spool.Bytes()
	c.set(func() { c.away = false })
	r.Connected()
	eventually(t, "all receipts", func() bool { return r.Pending() == 0 && r.spool.Bytes() < full })
	must(t, r.stop())
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	expectOK(t, report)
	if report.Records != 9002 {
		t.Errorf("got %d records, want 9002", report.Records)
	}
}

func TestFullSpoolRefusesAndRecovers(t *testing.T) {
	c := newCollector(t, newKeys(t))
	c.set(func() { c.away = true })
	r := startSized(t, t.TempDir(), c, 512<<10, 2<<20)
	s := openSession(t, r.Log, "s1")
	op := operation.Operation{ID: 1, Text: operation.Text(strings.Repeat("y", 20_000))}
	var err error
	accepted := 0
	for err == nil && accepted < 10_000 {
		err = s.Intent(&op, record.Intent{Effect: "allow"}, false)
		accepted++
	}
	if !errors.Is(err, spool.ErrFull) {
		t.Fatalf("after %d records got %v, want ErrFull", accepted, err)
	}
	c.set(func() { c.away = false })
	r.Connected()
	eventually(t, "room again", func() bool { return s.Intent(&op, record.Intent{Effect: "allow"}, false) == nil })
	must(t, s.Close(record.Closed{Reason: "client"}))
	must(t, r.stop())
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
}

func TestLargeRequestIsKeptWhole(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	s := openSession(t, r.Log, "s1")
	text := strings.Repeat("é\x01", 60_000)
	long := strings.Repeat("p", 100_000)
	op := operation.Operation{ID: 7, Text: operation.Text(text), Params: []operation.Param{
		{Text: operation.Text("a")}, {}, {Text: operation.Text(long)}, {Text: operation.Text{0xff}, Binary: true}, {Text: operation.Text("secret"), Sealed: true},
	}}
	must(t, s.Intent(&op, record.Intent{Effect: "allow"}, true))
	must(t, r.stop())
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))

	var got strings.Builder
	var params []record.Param
	var third strings.Builder
	for _, b := range c.stored {
		for _, e := range b.Entries {
			h, err := record.DecodeHeader(e.Header)
			must(t, err)
			body, err := record.DecodeBody(e.Body)
			must(t, err)
			if h.Operation != 7 {
				continue
			}
			if h.Chunk != nil && h.Chunk.Stream == "param/3" {
				third.WriteString(body.Text)
				continue
			}
			got.WriteString(body.Text)
			params = append(params, body.Params...)
		}
	}
	if got.String() != text {
		t.Errorf("the text came back with %d bytes of %d", got.Len(), len(text))
	}
	if third.String() != long || len(params) != 5 || params[2].Length != len(long) || !params[1].Null {
		t.Errorf("got params %+v and %d bytes of the third", params, third.Len())
	}
	if p := params[4]; p.Text != nil || !strings.HasPrefix(p.Sealed, "hmac-sha256:") || p.Length != 6 {
		t.Errorf("got sealed value %+v", p)
	}
}

func TestResponseBeyondTheLimitIsKeptByDigest(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	s := openSession(t, r.Log, "s1")
	chunk := bytes.Repeat([]byte{'r'}, 50_000)
	for range 60 {
		must(t, s.Chunk(1, "response", 0, chunk))
	}
	must(t, s.Outcome(1, record.Outcome{Status: "ok"}))
	must(t, r.stop())
	var whole, digested int64
	var outcome *record.Outcome
	for _, h := range c.headers(t) {
		if h.Chunk != nil && h.Chunk.Digest == "" {
			whole += h.Chunk.Size
		}
		if h.Chunk != nil && h.Chunk.Digest != "" {
			digested += h.Chunk.Size
		}
		if h.Outcome != nil {
			outcome = h.Outcome
		}
	}
	if whole != 64<<10 || whole+digested != 3_000_000 || outcome.Response != 3_000_000 {
		t.Errorf("got %d whole, %d by digest, outcome %+v", whole, digested, outcome)
	}
}

// What came last is with the outcome where it is kept whole, and its size
// counts once wherever it is.
func TestLastOfAResponseIsWithItsOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		before, last int
		together     bool
	}{
		"all of it":             {0, 300, true},
		"the rest":              {40_000, 300, true},
		"what fills the limit":  {40_000, 64<<10 - 40_000, true},
		"one beyond the limit":  {40_000, 64<<10 - 40_000 + 1, false},
		"all is by digest":      {100_000, 300, false},
		"larger than one piece": {0, 40_000, false},
		"nothing":               {0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t, newKeys(t))
			r := start(t, t.TempDir(), c)
			s := openSession(t, r.Log, "s1")
			if test.before > 0 {
				must(t, s.Chunk(1, "response", 0, bytes.Repeat([]byte{'b'}, test.before)))
			}
			must(t, s.Finish(1, 5, bytes.Repeat([]byte{'l'}, test.last), record.Outcome{Status: "ok"}))
			must(t, r.stop())
			expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
			var outcome *record.Outcome
			total := int64(0)
			for _, h := range c.headers(t) {
				if h.Chunk != nil {
					total += h.Chunk.Size
				}
				if h.Outcome != nil {
					outcome = h.Outcome
				}
			}
			if outcome == nil || (outcome.Chunk != nil) != test.together {
				t.Fatalf("the outcome is %+v", outcome)
			}
			if test.together {
				total += outcome.Chunk.Size
			}
			if want := int64(test.before + test.last); total != want || outcome.Response != want {
				t.Errorf("chunks of %d bytes and a response of %d, not %d", total, outcome.Response, want)
			}
		})
	}
}

func TestCrowdedSpoolKeepsResponsesByDigest(t *testing.T) {
	c := newCollector(t, newKeys(t))
	c.set(func() { c.away = true })
	r := startSized(t, t.TempDir(), c, 512<<10, 8<<20)
	s := openSession(t, r.Log, "s1")
	answer := bytes.Repeat([]byte{'r'}, 40_000)
	const operations = 500 // ten times what would fit as it is
	for i := range uint64(operations) {
		must(t, s.Intent(&operation.Operation{ID: i + 1, Text: operation.Text("SELECT 1")}, record.Intent{Effect: "allow"}, false))
		must(t, s.Chunk(i+1, "response", 0, answer[:30_000]))
		must(t, s.Finish(i+1, 0, answer[30_000:], record.Outcome{Status: "ok"}))
	}
	c.set(func() { c.away = false })
	r.Connected()
	eventually(t, "every receipt", func() bool { return r.Pending() == 0 })
	must(t, r.stop())
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
	var whole, digested int64
	for _, h := range c.headers(t) {
		switch {
		case h.Outcome != nil && h.Outcome.Chunk != nil:
			whole += h.Outcome.Chunk.Size
		case h.Chunk == nil:
		case h.Chunk.Digest == "":
			whole += h.Chunk.Size
		default:
			digested += h.Chunk.Size
		}
	}
	if whole == 0 || digested == 0 || whole+digested != operations*40_000 {
		t.Errorf("got %d bytes whole and %d by digest", whole, digested)
	}
}

func TestRolledBackLogIsDoubted(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	s := openSession(t, r.Log, "s1")
	query(t, s, 1, "SELECT 1")
	eventually(t, "a receipt", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.size > 0 && r.Pending() == 0 })
	c.set(func() { // yesterday's disk
		c.hashes, c.size, c.told, c.stored = nil, 0, 0, nil
		c.index = map[record.BatchID]int64{}
	})
	query(t, s, 2, "SELECT 2")
	eventually(t, "the alert is recorded", func() bool {
		for _, h := range c.headers(t) {
			if h.Alert != nil && h.Alert.Kind == "log-forked" {
				return true
			}
		}
		return false
	})
	if r.Pending() == 0 {
		t.Error("the agent believed receipts of a log that it had seen otherwise")
	}
	c.set(func() { c.away = true })
}

func TestForgedReceiptFreesNothing(t *testing.T) {
	k := newKeys(t)
	c := newCollector(t, k)
	evil := newCollector(t, newKeys(t))
	evil.keys.agentPub = k.agentPub
	evil.verifier = c.verifier
	r := start(t, t.TempDir(), c)
	c.set(func() { c.mute = true })
	query(t, openSession(t, r.Log, "s1"), 1, "SELECT 1")
	eventually(t, "the batch arrives", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.size > 0 })
	receipt, err := evil.ingest(c.stored[0].Note, nil)
	must(t, err)
	before := r.Pending()
	r.Deliver(receipt)
	r.Deliver([]byte(`{"checkpoint":""}`))
	r.Deliver(nil)
	if got := r.Pending(); got < before || got == 0 {
		t.Errorf("%d batches pending after forged receipts, %d before", got, before)
	}
	c.set(func() { c.mute = false })
	r.Connected()
	eventually(t, "the true receipt is taken", func() bool { return r.Pending() == 0 })
}

func TestRecordsAfterTheSealAreRefused(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	s := openSession(t, r.Log, "s1")
	must(t, r.stop())
	if err := s.Outcome(1, record.Outcome{}); !errors.Is(err, audit.ErrSealed) {
		t.Errorf("got %v, want ErrSealed", err)
	}
}

func TestManySessionsAtOnce(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	var work sync.WaitGroup
	for i := range 16 {
		s := openSession(t, r.Log, fmt.Sprintf("s%d", i))
		work.Go(func() {
			for j := range 200 {
				op := operation.Operation{ID: uint64(j + 1), Text: operation.Text("SELECT 1")}
				if err := s.Intent(&op, record.Intent{Effect: "allow"}, j%20 == 0); err != nil {
					t.Error(err)
				}
			}
			if err := s.Close(record.Closed{Reason: "client"}); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	must(t, r.stop())
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	expectOK(t, report)
	if report.Records != 1+16*202 {
		t.Errorf("got %d records, want %d", report.Records, 1+16*202)
	}
}
