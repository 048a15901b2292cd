package store_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// A database of version 1 numbered its words; they are made again.
func TestVersionOneIsBroughtUpToDate(t *testing.T) {
	f := open(t)
	s := collectortest.NewSession(time.Now())
	f.add(append([]collectortest.Record{s.Opened()}, s.Query("SELECT 1", "n", "ada")...)...)
	check(t, f.Close())
	db, err := sql.Open("sqlite", filepath.Join(f.dir, "collector.db"))
	check(t, err)
	_, err = db.Exec(`DROP TABLE words; DROP TABLE orders; DROP TABLE policies; DROP TABLE shredded; DROP TABLE shreddings;
		CREATE VIRTUAL TABLE words USING fts5 (text, content = '', detail = full);
		CREATE TABLE documents (id INTEGER PRIMARY KEY, log_index INTEGER NOT NULL, no INTEGER NOT NULL, session INTEGER NOT NULL);
		INSERT INTO words (rowid, text) VALUES (1, 'ada');
		INSERT INTO documents VALUES (1, 0, 2, 1);
		INSERT INTO meta VALUES ('indexed', 1) ON CONFLICT DO UPDATE SET value = 1;
		ALTER TABLE chains DROP COLUMN behind; ALTER TABLE chains DROP COLUMN version; ALTER TABLE chains DROP COLUMN host;
		ALTER TABLE chains DROP COLUMN policy; ALTER TABLE chains DROP COLUMN policy_since;
		DROP TABLE logins; DROP TABLE notifiers; DROP TABLE outbox; DROP TABLE runs;
		DROP TRIGGER approval_added; DROP TRIGGER approval_moved; DROP INDEX approvals_number;
		DROP INDEX sessions_resource; DROP INDEX sessions_repository; DROP INDEX sessions_run;
		DROP INDEX sessions_denied; DROP INDEX sessions_held; DROP INDEX sessions_protocol; DROP INDEX sessions_agent;
		DROP INDEX sessions_open; CREATE INDEX sessions_open ON sessions (agent) WHERE ended IS NULL;
		ALTER TABLE sessions DROP COLUMN repository; ALTER TABLE sessions DROP COLUMN run;
		ALTER TABLE sessions DROP COLUMN parent; ALTER TABLE sessions DROP COLUMN parent_operation;
		ALTER TABLE approvals DROP COLUMN repository;
		PRAGMA user_version = 1`)
	check(t, err)
	check(t, db.Close())
	f.open()
	f.indexing()
	hits, lag, err := f.search("ada", 10)
	check(t, err)
	if lag != 0 || len(hits) != 1 || hits[0].Session != s.ID || hits[0].No != 2 {
		t.Errorf("lag %d, hits %+v", lag, hits)
	}
	runs, err := f.Runs(t.Context(), view.Everything(), "", 10)
	check(t, err)
	if len(runs) != 1 || runs[0].ID != "container:c0ffee" || runs[0].Sessions != 1 {
		t.Errorf("runs %+v", runs)
	}
}

// Records of version 1 are another form, which is said and not misread.
func TestRecordsOfVersionOneAreRefused(t *testing.T) {
	f := open(t)
	f.add(collectortest.NewSession(time.Now()).Opened())
	check(t, f.Close())
	db, err := sql.Open("sqlite", filepath.Join(f.dir, "collector.db"))
	check(t, err)
	_, err = db.Exec("UPDATE batches SET note = CAST(replace(note, 'audit-batch/2', 'audit-batch/1') AS BLOB); PRAGMA user_version = 8")
	check(t, err)
	check(t, db.Close())
	if s, err := store.Open(t.Context(), f.dir, f.vkey, f.signer); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("%v, %v", s, err)
	}
	f.Store, err = store.Open(t.Context(), t.TempDir(), f.vkey, f.signer) // to be closed
	check(t, err)
}

// Many groups of records in one batch: each record is found, newest first, and
// stands where the hit says, also when the page ends within a group.
func TestEveryRecordOfALargeBatchIsFound(t *testing.T) {
	f := open(t)
	f.indexing()
	s := collectortest.NewSession(time.Now())
	all := []collectortest.Record{s.Opened()}
	for range 400 {
		all = append(all, s.Query("SELECT needle", "n", "answer")...)
	}
	f.add(all...)
	for word, of := range map[string]string{"needle": "operation.intent", "answer": "operation.outcome"} {
		hits, lag, err := f.search(word, 1000)
		check(t, err)
		if lag != 0 || len(hits) != 400 {
			t.Fatalf("%s: lag %d, %d hits", word, lag, len(hits))
		}
		for i, h := range hits {
			if i > 0 && h.No != hits[i-1].No-2 || h.Type != of || h.Session != s.ID || !strings.Contains(h.Excerpt, word) {
				t.Fatalf("%s: hit %d is %+v", word, i, h)
			}
		}
		var paged []view.Hit
		for before := int64(0); len(paged) == 0 || before > 0; {
			found, err := f.Search(t.Context(), store.Query{Sees: view.Everything(), Words: word, Limit: 7, Before: before})
			check(t, err)
			paged, before = append(paged, found.Hits...), found.Next
		}
		if diff := cmp.Diff(hits, paged); diff != "" {
			t.Errorf("%s in pages (-whole +pages):\n%s", word, diff)
		}
	}
}
