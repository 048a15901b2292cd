package translog

import (
	"bytes"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// checkKept compares the log with a checkpoint or receipt that somebody kept
// elsewhere: an agent, a witness, whoever verified before.
func (v *verification) checkKept(data []byte) {
	signed, receipt := data, (*Receipt)(nil)
	if bytes.HasPrefix(data, []byte("{")) {
		receipt = &Receipt{}
		if err := decodeStrict(bytes.TrimSpace(data), receipt); err != nil {
			v.findKept(ReceiptForged, "the receipt cannot be read")
			return
		}
		signed = []byte(receipt.Checkpoint)
	}
	head, err := OpenCheckpoint(signed, v.keys.log)
	if err != nil {
		v.findKept(ReceiptForged, "what was kept is not signed by the log")
		return
	}
	if receipt != nil && !v.checkReceipt(receipt, head) {
		return
	}
	v.compareKept(head)
}

func (v *verification) findKept(code Code, detail string) {
	v.find(Finding{Code: code, Index: -1, Record: -1, Detail: detail})
}

// checkReceipt reports whether a receipt proves what it says: that the batches
// that it names are in the log that its checkpoint signs.
func (v *verification) checkReceipt(r *Receipt, head Checkpoint) bool {
	here := map[int64]*checkedBatch{}
	for _, b := range v.batches {
		here[b.index] = b
	}
	for _, claim := range r.Batches {
		b := here[claim.Index]
		if b == nil && claim.Index >= 0 && claim.Index < head.Size {
			continue // not in this bundle, or reported already
		}
		f := Finding{Code: ReceiptForged, Index: claim.Index, Epoch: claim.Epoch, Seq: claim.Seq, Record: -1}
		if b == nil || b.BatchID != claim.BatchID {
			f.Detail = "the receipt names a batch that is not at this leaf"
			v.find(f)
			return false
		}
		if err := checkInclusion(head, claim.Index, Hash(b.leaf), claim.Proof); err != nil {
			f.Agent, f.Detail = AgentKeyName(b.Cluster, b.Agent), "the receipt does not prove its batch: "+err.Error()
			v.find(f)
			return false
		}
	}
	return true
}

// compareKept looks for a checkpoint's tree in this log. Only the whole log can
// show every size of it.
func (v *verification) compareKept(kept Checkpoint) {
	switch {
	case !v.headOK:
	case kept.Size > v.head.Size:
		v.findKept(LogRolledBack, fmt.Sprintf("the log had %d leaves once, and has %d", kept.Size, v.head.Size))
	case kept.Size == v.head.Size:
		if kept.Root != v.head.Root {
			v.findKept(SplitView, fmt.Sprintf("the log signed two roots of %d leaves", kept.Size))
		}
	case v.tree == nil:
		v.findKept(BundleMalformed, fmt.Sprintf("what was kept has %d leaves: it takes a bundle of the whole log to compare", kept.Size))
	default:
		root, err := tlog.TreeHash(kept.Size, v.tree)
		if err != nil || root != kept.Root {
			v.findKept(SplitView, fmt.Sprintf("the log signed another root of %d leaves", kept.Size))
		}
	}
}
