package translog

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrTree reports a stored tree in which a node is missing or is not the hash
// of the two below it.
var ErrTree = errors.New("the stored tree is altered")

// checkedBits bounds what CheckTree looks at: at most twice as many leaves as
// these bits can number, which takes a second or two.
const checkedBits = 19

// CheckedFrom returns where the part of a log of size leaves begins that
// CheckTree looks at: the leaf, and the position of its node.
func CheckedFrom(size int64) (leaf, position int64) {
	leaf = max(0, size>>checkedBits-1) << checkedBits
	return leaf, tlog.StoredHashIndex(0, leaf)
}

// CheckTree reads the nodes of the newest part of a stored tree, in the order of
// their positions from CheckedFrom on, and returns ErrTree unless each of them
// is the hash of the two below it. A root tells nothing of the nodes that it is
// not computed from, and proofs are made of all.
func CheckTree(size int64, next func() (position int64, hash Hash, err error)) error {
	left := map[int]Hash{} // the newest left sibling of each level
	node := func(level int, n int64) (Hash, error) {
		position, hash, err := next()
		if err == nil && position != tlog.StoredHashIndex(level, n) {
			err = ErrTree
		}
		if err != nil {
			return hash, fmt.Errorf("node %d of level %d: %w", n, level, err)
		}
		return hash, nil
	}
	first, _ := CheckedFrom(size)
	for leaf := first; leaf < size; leaf++ {
		hash, err := node(0, leaf)
		if err != nil {
			return err
		}
		level := 0
		for ; leaf>>level&1 == 1; level++ {
			before, known := left[level]
			want := tlog.NodeHash(before, hash)
			if hash, err = node(level+1, leaf>>(level+1)); err != nil {
				return err
			}
			if known && hash != want {
				return fmt.Errorf("node %d of level %d: %w", leaf>>(level+1), level+1, ErrTree)
			}
		}
		left[level] = hash
	}
	return nil
}
