package translog_test

import (
	"testing"
	"testing/fstest"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// logTamperings are those with the log and its checkpoints.
func logTamperings() []tampering {
	return []tampering{
		{name: "a batch missing", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/1")
			delete(files, "records/1")
		}, want: []translog.Code{translog.BatchMissing, translog.SessionIncomplete}},
		{name: "the tail cut", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/7")
			delete(files, "records/7")
		}, want: []translog.Code{translog.TailTruncated}},
		{name: "two notes exchanged", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["notes/0"], files["notes/1"] = files["notes/1"], files["notes/0"]
			files["records/0"], files["records/1"] = files["records/1"], files["records/0"]
		}, want: []translog.Code{translog.LogInclusion, translog.Reordered}},
		{name: "a checkpoint of another log", tamper: func(t *testing.T, w *world, files fstest.MapFS) {
			w.log = newSigner(t, origin)
			files["checkpoint"].Data = w.checkpoint(t)
			w.log = newSigner(t, origin)
		}, want: []translog.Code{translog.CheckpointSignature}},
		{name: "a size in the checkpoint", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			replace(t, files, "checkpoint", "\n8\n", "\n7\n")
		}, want: []translog.Code{translog.CheckpointSignature}},
		{name: "a log that showed an agent other leaves", world: func(t *testing.T, w *world) {
			other := newWorld(t)
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, func(b *record.Batch) { other.seen(t)(b); b.Seal = true }))
		}, want: []translog.Code{translog.SplitView}},
		{name: "a log that was rolled back", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, func(b *record.Batch) { b.Seal, b.Seen = true, record.Seen{Origin: origin, Size: 900} }))
		}, want: []translog.Code{translog.LogRolledBack}},
		{name: "a file that does not belong there", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["notes/008"] = &fstest.MapFile{Data: []byte("x")}
			files["keys/agent"] = &fstest.MapFile{Data: []byte("x")}
		}, want: []translog.Code{translog.BundleMalformed}},
		{name: "no checkpoint", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "checkpoint")
		}, want: []translog.Code{translog.BundleMalformed}},
		{name: "a batch replayed into the bundle", tamper: func(_ *testing.T, _ *world, files fstest.MapFS) {
			files["notes/7"], files["records/7"] = files["notes/3"], files["records/3"]
		}, want: []translog.Code{translog.BatchReplayed, translog.LogInclusion}},
		{name: "a log rolled back to what somebody kept", kept: func(t *testing.T, w *world) [][]byte {
			kept := w.checkpoint(t)
			w.batches, w.nodes = w.batches[:7], tree{}
			for _, b := range w.batches {
				_, err := translog.Append(b.Index, [][]byte{b.Note}, &w.nodes)
				must(t, err)
			}
			return [][]byte{kept}
		}, want: []translog.Code{translog.LogRolledBack}},
		{name: "another log of the same size", kept: func(t *testing.T, w *world) [][]byte {
			return [][]byte{w.otherCheckpoint(t, 8)}
		}, want: []translog.Code{translog.SplitView}},
		{name: "another log of a smaller size", kept: func(t *testing.T, w *world) [][]byte {
			return [][]byte{w.otherCheckpoint(t, 5)}
		}, want: []translog.Code{translog.SplitView}},
		{name: "a receipt", kept: func(t *testing.T, w *world) [][]byte {
			return [][]byte{w.keptReceipt(t, 3, func(*translog.Receipt) {})}
		}, want: []translog.Code{}},
		{name: "a receipt that another key signed", kept: func(t *testing.T, w *world) [][]byte {
			return [][]byte{w.keptReceipt(t, 3, func(r *translog.Receipt) {
				forged, err := translog.SignCheckpoint(8, translog.Hash{}, newSigner(t, origin).Signer)
				must(t, err)
				r.Checkpoint = string(forged)
			})}
		}, want: []translog.Code{translog.ReceiptForged}},
		{name: "a receipt for a batch that is not there", kept: func(t *testing.T, w *world) [][]byte {
			return [][]byte{w.keptReceipt(t, 3, func(r *translog.Receipt) { r.Batches[0].Seq++ })}
		}, want: []translog.Code{translog.ReceiptForged}},
		{name: "a receipt whose proof is another's", kept: func(t *testing.T, w *world) [][]byte {
			return [][]byte{w.keptReceipt(t, 3, func(r *translog.Receipt) { r.Batches[0].Proof[0][0] ^= 1 })}
		}, want: []translog.Code{translog.ReceiptForged}},
	}
}
