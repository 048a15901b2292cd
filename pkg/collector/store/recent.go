package store

import "sync"

// maxRecent bounds, in bytes of records, what is remembered for the index.
const maxRecent = 32 << 20

// recent holds the batches that were just stored, as they were verified, until
// their words are indexed: reading them back would cost as much as the index.
type recent struct {
	mu    sync.Mutex
	by    map[int64]*stored // guarded by mu; by log index
	bytes int               // guarded by mu; of their records
}

// add remembers a batch, if there is room.
func (r *recent) add(b *stored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = map[int64]*stored{}
	}
	if size := b.size(); r.bytes+size <= maxRecent {
		r.by[b.index] = b
		r.bytes += size
	}
}

// take returns the n batches from a log index on, if all are remembered and
// none of them was stored before the newest shredding: what it destroyed must
// not be indexed. It forgets all that stand before them, so that nothing is
// kept that nobody will ask for.
func (r *recent) take(from int64, n int, shredded int64) []*stored {
	r.mu.Lock()
	defer r.mu.Unlock()
	for index, b := range r.by {
		if index < from || b.shredded != shredded {
			delete(r.by, index)
			r.bytes -= b.size()
		}
	}
	var all []*stored
	for index := from; len(all) < n; index++ {
		b := r.by[index]
		if b == nil {
			break
		}
		all = append(all, b)
	}
	return all
}

// size returns how many bytes a batch's records have.
func (b *stored) size() (n int) {
	for i := range b.entries {
		n += len(b.entries[i].Header) + len(b.entries[i].Body)
	}
	return n
}
