// Package textcache remembers what texts were found to say, in bounded memory.
//
// When a cache is full it forgets what was not used since it last looked
// (second chance), so that one job's one-off statements do not push out what is
// used all the time. Go's maps are seeded per process and compare whole keys:
// no text can be made to get what another one says. It knows nothing of what it
// keeps, and does not copy it.
package textcache

import (
	"sync"
	"sync/atomic"
)

// overhead is what an entry costs beside its key and its value, in bytes, roughly.
const overhead = 512

// Cache is safe for concurrent use.
type Cache[V any] struct {
	maxEntries, maxBytes int

	mu      sync.RWMutex
	entries []map[string]*entry[V] // by space; guarded by mu
	ring    []*entry[V]            // guarded by mu
	hand    int                    // guarded by mu; where the next look begins
	bytes   int                    // guarded by mu
}

type entry[V any] struct {
	space uint8
	key   string
	value V
	size  int // in bytes, roughly
	used  atomic.Bool
}

// New returns an empty cache. Spaces keep apart what the same key means
// otherwise; they are numbered from 0 and share the bounds.
func New[V any](spaces, maxEntries, maxBytes int) *Cache[V] {
	c := &Cache[V]{maxEntries: maxEntries, maxBytes: maxBytes, entries: make([]map[string]*entry[V], spaces)}
	for i := range c.entries {
		c.entries[i] = make(map[string]*entry[V])
	}
	return c
}

// Find returns what is remembered under key, without an allocation.
func (c *Cache[V]) Find(space uint8, key []byte) (value V, known bool) {
	c.mu.RLock()
	e := c.entries[space][string(key)]
	c.mu.RUnlock()
	if e == nil {
		return value, false
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.value, true
}

// Add remembers a value of size bytes, roughly, under key, which it copies.
// What is there stays, and what is very large is not remembered.
func (c *Cache[V]) Add(space uint8, key []byte, value V, size int) {
	size += overhead + len(key)
	if size > c.maxBytes/16 {
		return
	}
	e := &entry[V]{space: space, key: string(key), value: value, size: size}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[space][e.key] != nil {
		return
	}
	for len(c.ring) > 0 && (len(c.ring) >= c.maxEntries || c.bytes+e.size > c.maxBytes) {
		c.forgetOne()
	}
	c.entries[space][e.key] = e
	c.ring = append(c.ring, e)
	c.bytes += e.size
}

// forgetOne drops the next entry that was not used since the hand last passed.
func (c *Cache[V]) forgetOne() {
	for {
		c.hand %= len(c.ring)
		e := c.ring[c.hand]
		if e.used.CompareAndSwap(true, false) {
			c.hand++
			continue
		}
		last := len(c.ring) - 1
		c.ring[c.hand] = c.ring[last]
		c.ring[last] = nil
		c.ring = c.ring[:last]
		delete(c.entries[e.space], e.key)
		c.bytes -= e.size
		return
	}
}
