package translog_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// chainTamperings are those with agents' notes and keys.
func chainTamperings() []tampering {
	return []tampering{
		{name: "a number in a note", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			replace(t, files, "notes/1", "drops 0", "drops 9")
		}, want: []translog.Code{translog.BatchMissing, translog.LogInclusion, translog.NoteSignature, translog.SessionIncomplete}},
		{name: "a second signature on a note", tamper: func(t *testing.T, w *world, files fstest.MapFS) {
			files["notes/1"].Data = append(files["notes/1"].Data, "— somebody AAAAAAAA\n"...)
		}, want: []translog.Code{translog.BatchMissing, translog.LogInclusion, translog.NoteSignature, translog.SessionIncomplete}},
		{name: "an agent that nobody trusts", world: func(t *testing.T, w *world) {
			w.add(newAgent(t, "evil").batch(t, seal, opened("x"), closed("x", 2)))
		}, want: []translog.Code{translog.AgentUnknown}},
		{name: "a note signed by another agent's key", world: func(t *testing.T, w *world) {
			evil := newAgent(t, "one") // the name is right, the key is not
			evil.next.Epoch = record.Epoch{9}
			w.add(evil.batch(t, seal, opened("x"), closed("x", 2)))
		}, want: []translog.Code{translog.KeyForeign}},
		{name: "an epoch that hides the one before", world: func(t *testing.T, w *world) {
			w.one.epoch(record.Boot)
			w.one.next.PrevEpoch, w.one.next.Prev = record.Epoch{}, record.Hash{}
			w.add(w.one.batch(t, seal))
		}, want: []translog.Code{translog.EpochUnlinked}},
		{name: "a note that names another before it", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, nil))
			w.two.next.Prev[0] ^= 1
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.ChainBroken}},
		{name: "a note after the seal", world: func(t *testing.T, w *world) {
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.ChainBroken}},
		{name: "two notes with one number", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			before := w.two.next
			w.add(w.two.batch(t, seal))
			w.two.next = before
			w.add(w.two.batch(t, func(b *record.Batch) { b.Seal, b.Clock = true, record.Unsynced }))
		}, want: []translog.Code{translog.Equivocation}},
		{name: "a batch that the log never got", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, nil))
			w.two.batch(t, nil)
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.BatchMissing}},
		{name: "records that the agent lost", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.two.records = 3
			w.add(w.two.batch(t, func(b *record.Batch) { b.Seal, b.Drops = true, 3 }, opened("x"), closed("x", 2)))
		}, want: []translog.Code{translog.RecordsDropped}},
		{name: "an agent that fell silent", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, nil))
			w.at = w.at.Add(5 * time.Minute)
		}, want: []translog.Code{translog.TailOpen}},
		{name: "a key that nobody pinned", world: func(t *testing.T, w *world) {
			w.two.signer = newSigner(t, "c1/two")
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.KeyForeign}},
		{name: "a key that changed", world: changeKey, want: []translog.Code{}},
		{name: "a key that was revoked before it signed", world: changeKey, trust: func(trust *translog.Trust) {
			trust.Revoked = []translog.Revocation{{Key: trust.Agents[2], From: 9}}
		}, want: []translog.Code{translog.KeyRevoked}},
		{name: "a key that was revoked after it signed", world: changeKey, trust: func(trust *translog.Trust) {
			trust.Revoked = []translog.Revocation{{Key: trust.Agents[1], From: 8}}
		}, want: []translog.Code{}},
		{name: "an epoch that continues another note than the last", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.two.next.Prev[0] ^= 1
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.EpochUnlinked}},
		{name: "a batch replayed", world: func(_ *testing.T, w *world) {
			w.add(w.batches[3])
		}, want: []translog.Code{translog.BatchReplayed}},
	}
}
