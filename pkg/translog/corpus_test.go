package translog_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// tampering is one thing that somebody could do to the evidence, and what both
// verifiers must say of it.
type tampering struct {
	name   string
	world  func(t *testing.T, w *world)                     // before it is exported
	tamper func(t *testing.T, w *world, files fstest.MapFS) // with the export
	kept   func(t *testing.T, w *world) [][]byte            // what somebody has from elsewhere; may change the world
	trust  func(*translog.Trust)                            // with what the verifier believes
	want   []translog.Code
}

// corpus is everything that is tried.
func corpus() []tampering {
	return slices.Concat(recordTamperings(), chainTamperings(), logTamperings(), scopeTamperings())
}

func (c *tampering) make(t *testing.T) (files fstest.MapFS, trust translog.Trust, kept [][]byte) {
	t.Helper()
	w := newWorld(t)
	if c.world != nil {
		c.world(t, w)
	}
	if c.kept != nil {
		kept = c.kept(t, w)
	}
	files = w.bundle(t)
	if c.tamper != nil {
		c.tamper(t, w, files)
	}
	trust = w.trust()
	if c.trust != nil {
		c.trust(&trust)
	}
	return files, trust, kept
}

// shredBody destroys a record's body as the collector does.
func shredBody(e *record.Entry) {
	*e = e.Shred()
}

// shred adds the leaf that says which bodies were destroyed.
func (w *world) shred(t testing.TB, bodies ...translog.Span) {
	t.Helper()
	note, err := translog.SignShredding(&translog.Shredding{At: w.at, By: "alice@example.com", Reason: "asked for by the customer", Bodies: bodies}, w.log.Signer)
	must(t, err)
	w.add(translog.StoredBatch{Note: note})
}

// changeKey has agent two go on with another key.
func changeKey(t *testing.T, w *world) {
	w.two.signer = newSigner(t, "c1/two")
	w.more = []string{w.two.public}
	w.two.epoch(record.Boot)
	w.add(w.two.batch(t, nil))
	w.add(w.two.batch(t, seal))
}

// otherCheckpoint is one that this log's key signed of other leaves.
func (w *world) otherCheckpoint(t *testing.T, size int64) []byte {
	t.Helper()
	signed, err := translog.SignCheckpoint(size, translog.Hash{7}, w.log.Signer)
	must(t, err)
	return signed
}

// keptReceipt is the log's receipt for one leaf, changed.
func (w *world) keptReceipt(t *testing.T, index int64, change func(*translog.Receipt)) []byte {
	t.Helper()
	r := w.receipt(t, 0, index)
	change(&r)
	encoded, err := translog.EncodeReceipt(&r)
	must(t, err)
	return encoded
}
