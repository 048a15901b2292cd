package translog_test

import (
	"bytes"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// recordTamperings are those with records and bodies.
func recordTamperings() []tampering {
	return []tampering{
		{name: "a letter of a statement", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			replace(t, files, "records/1", "statement 4", "statement 5")
		}, want: []translog.Code{translog.RecordAltered}},
		{name: "a record and its leaf hash", tamper: func(t *testing.T, w *world, files fstest.MapFS) {
			e := w.batches[1].Entries[1]
			e.Body = bytes.Replace(e.Body, []byte("4"), []byte("5"), 1)
			replace(t, files, "records/1", "statement 4", "statement 5")
			replace(t, files, "records/1", w.batches[1].Entries[1].Leaf().String(), e.Leaf().String())
		}, want: []translog.Code{translog.RecordAltered}},
		{name: "a record deleted", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			entries(t, files, "records/0", func(l []string) []string { return slices.Delete(l, 1, 2) })
		}, want: []translog.Code{translog.RecordDeleted}},
		{name: "a record reduced to its leaf hash", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			entries(t, files, "records/0", func(l []string) []string {
				l[1] = hide(l[1])
				return l
			})
		}, want: []translog.Code{translog.RecordAltered}},
		{name: "a record twice", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			entries(t, files, "records/0", func(l []string) []string { return append(l, l[2]) })
		}, want: []translog.Code{translog.RecordAdded}},
		{name: "a record of another batch", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["records/0"].Data = append(files["records/0"].Data, files["records/3"].Data...)
		}, want: []translog.Code{translog.RecordAdded}},
		{name: "records reordered", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			entries(t, files, "records/0", func(l []string) []string { l[0], l[1] = l[1], l[0]; return l })
		}, want: []translog.Code{translog.Reordered}},
		{name: "the records of a batch", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "records/1")
		}, want: []translog.Code{translog.RecordDeleted}},
		{name: "a body withheld", world: func(t *testing.T, w *world) {
			e := &w.batches[0].Entries[1]
			*e = e.Shred()
		}, want: []translog.Code{translog.BodyMissing}},
		{name: "a session that counts more records than there are", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, seal, opened("x"), closed("x", 3)))
		}, want: []translog.Code{translog.SessionIncomplete}},
		{name: "a header with another number", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			e := w.two.batch(t, nil, opened("x")).Entries[0]
			e.No = 0
			e.Header = bytes.Replace(e.Header, []byte(`"no":0`), []byte(`"no":7`), 1)
			w.two.next.Seq, w.two.next.Prev = 0, record.NoteHash(w.batches[7].Note)
			b := w.two.batch(t, func(b *record.Batch) {
				b.First, b.Count, b.Root, b.Seal = 0, 1, e.Leaf(), true
			})
			b.Entries = []record.Entry{e}
			w.add(b)
		}, want: []translog.Code{translog.RecordInvalid}},
		{name: "a body destroyed, and the log says so", world: func(t *testing.T, w *world) {
			shredBody(&w.batches[0].Entries[1])
			w.shred(t, translog.Span{Index: 0, First: 1, Last: 1})
		}, want: []translog.Code{}},
		{name: "a body destroyed, and the log says it of another", world: func(t *testing.T, w *world) {
			shredBody(&w.batches[0].Entries[1])
			w.shred(t, translog.Span{Index: 0, First: 0, Last: 0}, translog.Span{Index: 0, First: 2, Last: 2}, translog.Span{Index: 1, First: 0, Last: 9})
		}, want: []translog.Code{translog.BodyMissing}},
		{name: "a body withheld, and the shredding that says so forged", world: func(t *testing.T, w *world) {
			shredBody(&w.batches[0].Entries[1])
			log := w.log
			w.log = newSigner(t, origin)
			w.shred(t, translog.Span{Index: 0, First: 1, Last: 1})
			w.log = log
		}, want: []translog.Code{translog.BodyMissing, translog.NoteSignature}},
		{name: "a shredding's reason altered", world: func(t *testing.T, w *world) {
			shredBody(&w.batches[0].Entries[1])
			w.shred(t, translog.Span{Index: 0, First: 1, Last: 1})
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			replace(t, files, "notes/8", "asked for", "asked far")
		}, want: []translog.Code{translog.BodyMissing, translog.LogInclusion, translog.NoteSignature}},
	}
}

// scopeTamperings are those with a bundle of a part of the log.
func scopeTamperings() []tampering {
	return []tampering{
		{name: "a session's batch left out", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.OneSession, Session: session1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/1")
			delete(files, "records/1")
			delete(files, "proofs/1")
		}, want: []translog.Code{translog.SessionIncomplete}},
		{name: "a session's record hidden", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.OneSession, Session: session1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			entries(t, files, "records/0", func(l []string) []string {
				l[1] = hide(l[1])
				return l
			})
		}, want: []translog.Code{translog.SessionIncomplete}},
		{name: "a session's record hidden, and its closing left out", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.OneSession, Session: session1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			entries(t, files, "records/0", func(l []string) []string {
				l[1] = hide(l[1])
				return l
			})
			delete(files, "notes/3")
			delete(files, "records/3")
			delete(files, "proofs/3")
		}, want: []translog.Code{translog.SessionIncomplete}},
		{name: "a proof altered", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.OneSession, Session: session1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["proofs/1"].Data[0] ^= 1
		}, want: []translog.Code{translog.LogInclusion}},
		{name: "a batch missing in a range", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.Range, First: 1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/3")
			delete(files, "records/3")
			delete(files, "proofs/3")
		}, want: []translog.Code{translog.BatchMissing}},
	}
}
