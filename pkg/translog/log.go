package translog

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// HashReader reads nodes of the tree by tlog's storage index
// (tlog.StoredHashIndex), all of them or an error.
type HashReader interface {
	ReadHashes(indexes []int64) ([]Hash, error)
}

// HashStore is what Append needs of a store: inside one transaction, reads see
// the writes before them.
type HashStore interface {
	HashReader
	// WriteHashes keeps hashes at the storage indexes first, first+1, ….
	WriteHashes(first int64, hashes []Hash) error
}

// Append adds signed notes to a log of size leaves and returns the new size:
// notes[i] is leaf size+i. It writes the new nodes to store and nothing else;
// whoever calls it owns the transaction.
func Append(size int64, notes [][]byte, store HashStore) (int64, error) {
	for _, n := range notes {
		hashes, err := tlog.StoredHashes(size, n, store)
		if err != nil {
			return 0, fmt.Errorf("append leaf %d: %w", size, err)
		}
		if err := store.WriteHashes(tlog.StoredHashIndex(0, size), hashes); err != nil {
			return 0, fmt.Errorf("append leaf %d: %w", size, err)
		}
		size++
	}
	return size, nil
}

// Root returns the root of the first size leaves.
func Root(size int64, store HashReader) (Hash, error) {
	root, err := tlog.TreeHash(size, store)
	if err != nil {
		return Hash{}, fmt.Errorf("compute root of %d leaves: %w", size, err)
	}
	return root, nil
}

// ProveInclusion returns the proof that leaf index is among the first size
// leaves.
func ProveInclusion(size, index int64, store HashReader) ([]Hash, error) {
	proof, err := tlog.ProveRecord(size, index, store)
	if err != nil {
		return nil, fmt.Errorf("prove leaf %d of %d: %w", index, size, err)
	}
	return proof, nil
}

// ProveConsistency returns the proof that the first size leaves begin with the
// first old ones. From nothing to anything needs no proof.
func ProveConsistency(old, size int64, store HashReader) ([]Hash, error) {
	if old == 0 {
		return nil, nil
	}
	proof, err := tlog.ProveTree(size, old, store)
	if err != nil {
		return nil, fmt.Errorf("prove %d from %d: %w", size, old, err)
	}
	return proof, nil
}
