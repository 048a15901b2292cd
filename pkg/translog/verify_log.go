package translog

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// memoryTree holds the nodes of a tree by storage index.
type memoryTree struct {
	hashes []Hash
}

// ReadHashes returns nodes of the tree.
func (t *memoryTree) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(t.hashes)) {
			return nil, errors.New("read hashes: outside the tree")
		}
		hashes[i] = t.hashes[index]
	}
	return hashes, nil
}

// WriteHashes appends nodes to the tree.
func (t *memoryTree) WriteHashes(first int64, hashes []Hash) error {
	if first != int64(len(t.hashes)) {
		return errors.New("write hashes: not at the end of the tree")
	}
	t.hashes = append(t.hashes, hashes...)
	return nil
}

// checkLeaves compares the notes with the checkpoint: for the whole log by
// computing its root again, otherwise by a proof for each.
func (v *verification) checkLeaves() {
	if !v.headOK {
		return
	}
	if v.report.Scope.Kind == WholeLog {
		v.checkWholeLog()
		return
	}
	if v.report.Scope.Kind == Range {
		v.checkNoGaps(v.report.Scope.First)
	}
	for _, index := range v.indexes {
		if err := v.checkProof(index); err != nil {
			v.find(Finding{Code: LogInclusion, Index: index, Record: -1, Detail: err.Error()})
		}
	}
}

// checkNoGaps reports the leaves from first to the checkpoint that are not
// there.
func (v *verification) checkNoGaps(first int64) bool {
	whole, next := true, first
	report := func(code Code, to int64) {
		whole = false
		v.find(Finding{Code: code, Index: next, Record: -1, Detail: fmt.Sprintf("%d leaves of the log are not in the bundle", to-next)})
	}
	for _, index := range v.indexes {
		if index < first || index >= v.head.Size {
			whole = false
			v.find(Finding{Code: LogInclusion, Index: index, Record: -1, Detail: "the note is outside the log that the checkpoint signs"})
			continue
		}
		if index > next {
			report(BatchMissing, index)
		}
		next = index + 1
	}
	if next < v.head.Size {
		report(TailTruncated, v.head.Size)
	}
	return whole
}

func (v *verification) checkWholeLog() {
	if !v.checkNoGaps(0) {
		return
	}
	tree := &memoryTree{}
	for _, index := range v.indexes {
		signed, err := v.read(v.fileOf("notes", index))
		if err != nil {
			return // checkNote reports it
		}
		if _, err := Append(index, [][]byte{signed}, tree); err != nil {
			v.find(Finding{Code: LogInclusion, Index: index, Record: -1, Detail: err.Error()})
			return
		}
	}
	root, err := Root(v.head.Size, tree)
	if err != nil || root != v.head.Root {
		v.find(Finding{Code: LogInclusion, Index: -1, Record: -1, Detail: "the notes do not give the root that the log signed"})
		v.broken = true
		return
	}
	v.tree = tree
}

func (v *verification) checkProof(index int64) error {
	signed, err := v.read(v.fileOf("notes", index))
	if err != nil {
		return err
	}
	proof, err := v.readProof(v.fileOf("proofs", index))
	if err != nil {
		return err
	}
	return checkInclusion(v.head, index, LeafHash(signed), proof)
}

// checkSeen compares what agents signed as seen with this log. An agent that
// saw a checkpoint which is no part of it has the proof of a rollback or of a
// second face of the log. The roots take every leaf, so only the whole log can
// show them.
func (v *verification) checkSeen() {
	for _, b := range v.batches {
		switch {
		case b.Seen.Size == 0 || !v.headOK:
		case b.Seen.Origin != v.head.Origin:
			v.find(b.finding(SplitView, fmt.Sprintf("the agent has seen the log %q", b.Seen.Origin)))
		case b.Seen.Size > b.index: // it was signed when the log was as large already, and only then got its leaf
			v.find(b.finding(LogRolledBack, fmt.Sprintf("before this leaf the agent had seen %d leaves", b.Seen.Size)))
		case v.tree != nil:
			root, err := tlog.TreeHash(b.Seen.Size, v.tree)
			if err != nil || root != Hash(b.Seen.Root) {
				v.find(b.finding(SplitView, fmt.Sprintf("the agent has seen another root of %d leaves", b.Seen.Size)))
			}
		}
	}
}

// checkOrder looks, when the notes do not give the log's root, for notes that
// changed places: an agent's later one before an earlier one.
func (v *verification) checkOrder() {
	if !v.broken {
		return
	}
	newest := map[string]*checkedBatch{}
	for _, b := range v.batches {
		if b.twin {
			continue
		}
		of := AgentKeyName(b.Cluster, b.Agent) + " " + b.Epoch.String()
		if before := newest[of]; before != nil && before.Seq > b.Seq {
			v.find(b.finding(Reordered, fmt.Sprintf("it stands behind batch %d, which is leaf %d", before.Seq, before.index)))
			continue
		}
		newest[of] = b
	}
}
