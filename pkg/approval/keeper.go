package approval

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"sync"
)

// Keeper holds the newest roster that the pinned root signed. It is safe for
// concurrent use.
type Keeper struct {
	root ed25519.PublicKey

	mu      sync.Mutex
	seen    uint64  // version; guarded by mu
	current *Roster // guarded by mu
	signed  []byte  // of current; guarded by mu
}

// NewKeeper returns a keeper without a roster, which refuses every version
// below seen: that of the last run, which the caller has kept.
func NewKeeper(root ed25519.PublicKey, seen uint64) *Keeper {
	return &Keeper{root: root, seen: seen}
}

// Update takes a signed roster. It refuses an older one, and another one of the
// same version, and then goes on with what it had.
func (k *Keeper) Update(signed []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	roster, err := OpenRoster(signed, k.root, k.seen)
	if err != nil {
		return err
	}
	if k.current != nil && roster.Version == k.current.Version && !bytes.Equal(signed, k.signed) {
		return fmt.Errorf("open roster: %w: there is another one of version %d", ErrRollback, roster.Version)
	}
	k.current, k.seen, k.signed = roster, roster.Version, bytes.Clone(signed)
	return nil
}

// Roster returns the roster that counts now, or nil. Nobody may change it.
func (k *Keeper) Roster() *Roster {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}
