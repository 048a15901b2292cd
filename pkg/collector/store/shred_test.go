package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// verified exports a bundle and verifies it.
func (f *fixture) verified(x translog.Export, err error) translog.Report {
	f.t.Helper()
	check(f.t, err)
	files := fstest.MapFS{}
	check(f.t, translog.WriteBundle(x, func(name string, data []byte) error {
		files[name] = &fstest.MapFile{Data: slices.Clone(data)}
		return nil
	}))
	report, err := translog.Verify(files, translog.Trust{Log: f.vkey, Agents: []string{f.node.VKey}})
	check(f.t, err)
	return report
}

// holds reports whether any of the database's files holds a text.
func (f *fixture) holds(text string) bool {
	f.t.Helper()
	names, err := filepath.Glob(filepath.Join(f.dir, "collector.db*"))
	check(f.t, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		check(f.t, err)
		if bytes.Contains(data, []byte(text)) {
			return true
		}
	}
	return false
}

func TestShreddedSessionStillVerifies(t *testing.T) {
	f := open(t)
	f.indexing()
	const secret = "q7x2m9v4k1"
	gone, kept := collectortest.NewSession(time.Now()), collectortest.NewSession(time.Now())
	f.add(gone.Opened(), kept.Opened())
	f.add(append(gone.Query("SELECT '"+secret+"'", "n", "one"), kept.Query("SELECT 'plain'", "n", "two")...)...)
	f.add(gone.Closed(), kept.Closed())
	found := func(word string) int {
		for {
			hits, lag, err := f.search(word, 10)
			check(t, err) // also when the test's time is over
			if lag == 0 {
				return len(hits)
			}
		}
	}
	if found(secret) != 1 || !f.holds(secret[2:]) { // FTS5 may keep a word's beginning apart
		t.Fatal("the text is not where it is looked for")
	}

	bodies, err := f.Shred(t.Context(), store.Shred{Session: gone.ID, By: "alice@example.com", Reason: "asked for"})
	check(t, err)
	if bodies != 2 {
		t.Errorf("%d bodies were destroyed, want 2", bodies)
	}
	if found(secret) != 0 || found("plain") != 1 {
		t.Errorf("found %d of the destroyed and %d of the other session", found(secret), found("plain"))
	}
	if f.holds(secret[2:]) {
		t.Error("the database still holds the text")
	}
	again, err := f.Shred(t.Context(), store.Shred{Session: gone.ID, By: "alice@example.com", Reason: "asked for"})
	check(t, err)
	if again != 0 {
		t.Errorf("%d bodies were destroyed twice", again)
	}
	for range 2 { // as it is, and after it was opened and derived again
		for name, report := range map[string]translog.Report{
			"whole":   f.verified(f.SinceBundle(t.Context(), time.Time{})),
			"session": f.verified(f.SessionBundle(t.Context(), view.Everything(), gone.ID)),
		} {
			if len(report.Findings) > 0 || report.Shredded != 2 || len(report.Shreddings) != 1 || report.Shreddings[0].Reason != "asked for" {
				t.Errorf("%s: %d shredded, %+v, %v", name, report.Shredded, report.Shreddings, report.Findings)
			}
		}
		if report := f.verified(f.SessionBundle(t.Context(), view.Everything(), kept.ID)); len(report.Findings) > 0 {
			t.Errorf("the other session: %v", report.Findings)
		}
		check(t, f.Reindex(t.Context()))
	}
	f.add(collectortest.NewSession(time.Now()).Opened()) // the log goes on behind the shredding
	if report := f.verified(f.SinceBundle(t.Context(), time.Time{})); len(report.Findings) > 0 {
		t.Error(report.Findings)
	}
}

func TestRetentionIsByAgeAndResource(t *testing.T) {
	f := open(t)
	f.day()
	for _, test := range []struct {
		what store.Shred
		want int
	}{
		{store.Shred{Before: time.Now().Add(-time.Hour)}, 0},
		{store.Shred{Before: time.Now().Add(time.Hour), Resource: "another"}, 0},
		{store.Shred{Before: time.Now().Add(time.Hour), Resource: "shop-db"}, 5},
		{store.Shred{Before: time.Now().Add(time.Hour)}, 0},
	} {
		test.what.By, test.what.Reason = "retention", "old enough"
		bodies, err := f.Shred(t.Context(), test.what)
		check(t, err)
		if bodies != test.want {
			t.Errorf("%+v: %d bodies, want %d", test.what, bodies, test.want)
		}
	}
	if report := f.verified(f.SinceBundle(t.Context(), time.Time{})); report.Shredded != 5 || slices.ContainsFunc(report.Findings, func(f translog.Finding) bool { return f.Code == translog.BodyMissing }) {
		t.Errorf("%d shredded: %v", report.Shredded, report.Findings)
	}
}

// A batch that waits to be indexed while its bodies are destroyed is remembered
// as it was before.
func TestWordsDestroyedBeforeTheyAreIndexedAreNotFound(t *testing.T) {
	f := open(t)
	const secret = "q7x2m9v4k1"
	s := collectortest.NewSession(time.Now())
	f.add(append([]collectortest.Record{s.Opened()}, s.Query("SELECT '"+secret+"'", "n", "one")...)...)
	bodies, err := f.Shred(t.Context(), store.Shred{Session: s.ID, By: "alice@example.com", Reason: "asked for"})
	check(t, err)
	f.indexing()
	hits, lag, err := f.search(secret, 10)
	check(t, err)
	if bodies != 2 || lag != 0 || len(hits) != 0 || f.holds(secret[2:]) {
		t.Errorf("%d bodies, %d batches behind, found %+v, holds it: %v", bodies, lag, hits, f.holds(secret[2:]))
	}
}
