package audit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// alter flips a bit of the first occurrence of text in any segment.
func alter(t *testing.T, dir, text string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	must(t, err)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		must(t, err)
		if i := strings.Index(string(raw), text); i >= 0 {
			raw[i] ^= 1
			must(t, os.WriteFile(name, raw, 0o600))
			return
		}
	}
	t.Fatalf("no segment holds %q", text)
}

func alerts(t *testing.T, c *collector) string {
	t.Helper()
	var kinds []string
	for _, h := range c.headers(t) {
		if h.Alert != nil {
			kinds = append(kinds, h.Alert.Kind)
		}
	}
	return strings.Join(kinds, " ")
}

func TestRecordThatTheDiskAlteredIsStatedAsLost(t *testing.T) {
	c := newCollector(t, newKeys(t))
	dir := t.TempDir()
	l, sp := openLog(t, dir, c, 1<<20, 16<<20)
	s := openSession(t, l, "s1")
	for i := range 20 {
		query(t, s, uint64(i+1), "SELECT "+strings.Repeat(string(rune('a'+i)), 10))
	}
	must(t, sp.Close())
	alter(t, dir, "SELECT kkkkkkkkkk")
	r := start(t, dir, c)
	must(t, r.stop())
	if got := alerts(t, c); got != "spool-altered-entry" {
		t.Errorf("got alerts %q", got)
	}
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	if got := codes(report); got != string(translog.RecordsDropped) {
		t.Errorf("got findings %q", got)
	}
}

// A note that the disk altered may be out already. Its number is not used
// again: that would be a contradiction under the agent's own signature.
func TestNoteThatTheDiskAlteredIsNotSignedAgain(t *testing.T) {
	c := newCollector(t, newKeys(t))
	c.set(func() { c.mute = true })
	dir := t.TempDir()
	r := start(t, dir, c)
	s := openSession(t, r.Log, "s1")
	query(t, s, 1, "SELECT 1")
	eventually(t, "the batch is out", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.size == 1 })
	query(t, s, 2, "SELECT 2")
	r.crash()
	alter(t, dir, "sluice.audit-batch/2")
	c.set(func() { c.mute = false })
	r = start(t, dir, c)
	must(t, r.stop())
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	if got := codes(report); strings.Contains(got, string(translog.Equivocation)) || got == "" {
		t.Errorf("got findings %q", got)
	}
}

func TestLostSpoolShows(t *testing.T) {
	c := newCollector(t, newKeys(t))
	for range 2 {
		r := start(t, t.TempDir(), c) // a new directory each time
		query(t, openSession(t, r.Log, "s1"), 1, "SELECT 1")
		must(t, r.stop())
	}
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	if got := codes(report); got != string(translog.EpochUnlinked) {
		t.Errorf("got findings %q", got)
	}
}

func TestChainGoesOnAfterEverythingWasFreed(t *testing.T) {
	c := newCollector(t, newKeys(t))
	dir := t.TempDir()
	for round := range 4 {
		r := startSized(t, dir, c, 384<<10, 8<<20)
		s := openSession(t, r.Log, "s1")
		for i := range 600 {
			query(t, s, uint64(i+1), "SELECT "+strings.Repeat("x", 500))
		}
		if round%2 == 0 {
			must(t, r.stop())
			continue
		}
		r.crash()
	}
	r := startSized(t, dir, c, 384<<10, 8<<20)
	must(t, r.stop())
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	expectOK(t, report)
	if want := 4*1801 + 5; report.Records != want {
		t.Errorf("got %d records, want %d", report.Records, want)
	}
	last, err := translog.PeekBatch(c.stored[len(c.stored)-1].Note)
	must(t, err)
	if last.Reason != record.Recover {
		t.Errorf("the epoch after a crash says %s", last.Reason)
	}
}
