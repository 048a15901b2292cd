package record

import (
	"crypto/sha256"
)

// Root returns the RFC 6962 §2.1 tree hash over leaf hashes. It changes
// leaves' memory. The root of no leaves is the hash of the empty string.
func Root(leaves []Hash) Hash {
	if len(leaves) == 0 {
		return sha256.Sum256(nil)
	}
	for len(leaves) > 1 {
		// Level by level from the left, the odd one carried up: the same tree as
		// RFC 6962's recursive split at the largest power of two.
		half := 0
		for i := 0; i+1 < len(leaves); i += 2 {
			leaves[half] = node(leaves[i], leaves[i+1])
			half++
		}
		if len(leaves)%2 == 1 {
			leaves[half] = leaves[len(leaves)-1]
			half++
		}
		leaves = leaves[:half]
	}
	return leaves[0]
}

func node(left, right Hash) Hash {
	var data [1 + 2*sha256.Size]byte
	data[0] = 1
	copy(data[1:], left[:])
	copy(data[1+sha256.Size:], right[:])
	return sha256.Sum256(data[:])
}
