package translog_test

import (
	"errors"
	"io"
	"testing"

	"github.com/sluicegate/sluice/pkg/translog"
)

// memory keeps a tree's nodes by their positions.
type memory []translog.Hash

func (m *memory) ReadHashes(indexes []int64) ([]translog.Hash, error) {
	hashes := make([]translog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = (*m)[index]
	}
	return hashes, nil
}

func (m *memory) WriteHashes(_ int64, hashes []translog.Hash) error {
	*m = append(*m, hashes...)
	return nil
}

func (m *memory) check(size int64) error {
	_, position := translog.CheckedFrom(size)
	return translog.CheckTree(size, func() (int64, translog.Hash, error) {
		if position == int64(len(*m)) {
			return 0, translog.Hash{}, io.ErrUnexpectedEOF
		}
		position++
		return position - 1, (*m)[position-1], nil
	})
}

func TestEveryAlteredNodeIsFound(t *testing.T) {
	for size := range int64(40) {
		var tree memory
		for leaf := range size {
			if _, err := translog.Append(leaf, [][]byte{{byte(leaf)}}, &tree); err != nil {
				t.Fatal(err)
			}
		}
		if err := tree.check(size); err != nil {
			t.Errorf("%d leaves: %v", size, err)
		}
		for i := range tree {
			tree[i][7] ^= 1
			// A node without one above it, a peak, is what the root is computed from.
			before, err := translog.Root(size, &tree)
			if err != nil {
				t.Fatal(err)
			}
			tree[i][7] ^= 1
			good, err := translog.Root(size, &tree)
			if err != nil {
				t.Fatal(err)
			}
			tree[i][7] ^= 1
			if err := tree.check(size); !errors.Is(err, translog.ErrTree) && before == good {
				t.Errorf("%d leaves, node %d: neither the tree nor its root tell: %v", size, i, err)
			}
			tree[i][7] ^= 1
		}
		if size > 0 {
			tree = tree[:len(tree)-1]
			if err := tree.check(size); err == nil {
				t.Errorf("%d leaves: the last node is missing, and nobody says so", size)
			}
		}
	}
}
