package translog_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// receipt proves leaf index of w from an older size.
func (w *world) receipt(t testing.TB, from int64, indexes ...int64) translog.Receipt {
	t.Helper()
	size := int64(len(w.batches))
	r := translog.Receipt{Checkpoint: string(w.checkpoint(t)), From: from, Batches: []translog.Included{}}
	var err error
	r.Consistency, err = translog.ProveConsistency(from, size, &w.nodes)
	must(t, err)
	for _, index := range indexes {
		b, err := translog.PeekBatch(w.batches[index].Note)
		must(t, err)
		proof, err := translog.ProveInclusion(size, index, &w.nodes)
		must(t, err)
		r.Batches = append(r.Batches, translog.Included{BatchID: b.BatchID, Index: index, Proof: proof})
	}
	return r
}

// checkpointAt returns the checkpoint that w had at a size.
func (w *world) checkpointAt(t testing.TB, size int64) translog.Checkpoint {
	t.Helper()
	root, err := translog.Root(size, &w.nodes)
	must(t, err)
	return translog.Checkpoint{Origin: origin, Size: size, Root: root}
}

// accept verifies a receipt as agent one does, which has spooled leaf 0 and 1.
func (w *world) accept(t testing.TB, r translog.Receipt, seen translog.Checkpoint) (translog.Acceptance, error) {
	t.Helper()
	encoded, err := json.Marshal(r)
	must(t, err)
	return translog.AcceptReceipt(encoded, w.log.verifier, seen, func(id record.BatchID) (translog.Hash, bool) {
		if id.Epoch != (record.Epoch{1}) || id.Seq > 1 {
			return translog.Hash{}, false
		}
		return translog.LeafHash(w.batches[id.Seq].Note), true
	})
}

func TestTrueReceiptsAreAccepted(t *testing.T) {
	w := newWorld(t)
	for _, from := range []int64{0, 1, 5, 8} {
		seen := translog.Checkpoint{}
		if from > 0 {
			seen = w.checkpointAt(t, from)
		}
		got, err := w.accept(t, w.receipt(t, from, 0, 1, 3), seen)
		if err != nil {
			t.Errorf("from %d: %v", from, err)
			continue
		}
		if len(got.Batches) != 2 || got.Checkpoint != w.checkpointAt(t, 8) {
			t.Errorf("from %d: got %+v", from, got)
		}
	}
}

func TestFalseReceiptsProveNothing(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	cases := map[string]struct {
		change func(*translog.Receipt)
		seen   translog.Checkpoint
		want   error
	}{
		"another log's checkpoint": {func(r *translog.Receipt) { r.Checkpoint = string(other.checkpoint(t)) }, translog.Checkpoint{}, translog.ErrSignature},
		"no checkpoint":            {func(r *translog.Receipt) { r.Checkpoint = "" }, translog.Checkpoint{}, translog.ErrSignature},
		"another leaf's index":     {func(r *translog.Receipt) { r.Batches[0].Index = 1 }, translog.Checkpoint{}, nil},
		"an index outside":         {func(r *translog.Receipt) { r.Batches[0].Index = 99 }, translog.Checkpoint{}, nil},
		"a negative index":         {func(r *translog.Receipt) { r.Batches[0].Index = -1 }, translog.Checkpoint{}, nil},
		"another leaf's proof":     {func(r *translog.Receipt) { r.Batches[0].Proof = r.Batches[1].Proof }, translog.Checkpoint{}, nil},
		"no proof":                 {func(r *translog.Receipt) { r.Batches[0].Proof = nil }, translog.Checkpoint{}, nil},
		"another start":            {func(r *translog.Receipt) { r.From = 3 }, w.checkpointAt(t, 2), translog.ErrStale},
		"a smaller log":            {func(*translog.Receipt) {}, translog.Checkpoint{Origin: origin, Size: 99}, translog.ErrStale},
		"another root, same size":  {func(*translog.Receipt) {}, other.checkpointAt(t, 8), translog.ErrForked},
		"another past":             {func(r *translog.Receipt) { r.From = 2 }, other.checkpointAt(t, 2), translog.ErrForked},
		"another origin":           {func(r *translog.Receipt) { r.From = 2 }, translog.Checkpoint{Origin: "x", Size: 2}, translog.ErrForked},
	}
	for name, c := range cases {
		r := w.receipt(t, 2, 0, 1)
		c.change(&r)
		got, err := w.accept(t, r, c.seen)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || len(got.Batches) != 0 {
			t.Errorf("%s: got %+v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestCheckpointsHaveOneForm(t *testing.T) {
	w := newWorld(t)
	good := string(w.checkpoint(t))
	for name, signed := range map[string]string{
		"a line after the signature": good + "\n", "a second signature": good + good[strings.LastIndex(good, "— "):], "nothing": "", "unsigned": strings.SplitAfter(good, "\n\n")[0],
	} {
		if c, err := translog.OpenCheckpoint([]byte(signed), w.log.verifier); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
	if _, err := translog.OpenCheckpoint(w.batches[0].Note, w.one.verifier); err == nil {
		t.Error("a batch note was read as a checkpoint")
	}
	if _, err := translog.OpenBatch(w.checkpoint(t), w.log.verifier); err == nil {
		t.Error("a checkpoint was read as a batch note")
	}
	if _, err := translog.SignBatch(&w.one.next, w.two.Signer); err == nil {
		t.Error("signed for another agent")
	}
}

func FuzzAcceptReceipt(f *testing.F) {
	w := newWorld(f)
	encoded, err := json.Marshal(w.receipt(f, 0, 0, 1))
	must(f, err)
	f.Add(encoded)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := translog.AcceptReceipt(data, w.log.verifier, translog.Checkpoint{}, func(id record.BatchID) (translog.Hash, bool) {
			return translog.LeafHash(w.batches[0].Note), id.Seq == 0
		})
		if err == nil && got.Checkpoint != w.checkpointAt(t, 8) {
			t.Errorf("accepted %s", data)
		}
	})
}

func FuzzOpenNotes(f *testing.F) {
	w := newWorld(f)
	f.Add(w.batches[0].Note)
	f.Add(w.checkpoint(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := translog.OpenBatch(data, w.one.verifier); err == nil && string(data) != string(w.batches[0].Note) {
			t.Errorf("opened %q", data)
		}
		if c, err := translog.OpenCheckpoint(data, w.log.verifier); err == nil && c != w.checkpointAt(t, 8) {
			t.Errorf("opened %q", data)
		}
		_, _ = translog.PeekBatch(data)
		_, _ = translog.DecodeSyncRequest(data)
		_, _ = translog.ParseTrust(data)
	})
}

func FuzzVerifyRecords(f *testing.F) {
	w := newWorld(f)
	files := w.bundle(f)
	honest := files["records/0"].Data
	f.Add(honest)
	f.Fuzz(func(t *testing.T, data []byte) {
		files["records/0"].Data = data
		if report := w.verify(t, files); report.OK() != (string(data) == string(honest)) {
			t.Errorf("%q: findings %v", data, report.Findings)
		}
	})
}
