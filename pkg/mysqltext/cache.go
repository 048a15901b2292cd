package mysqltext

import (
	"sync"
	"sync/atomic"
)

const (
	maxCacheEntries = 8192
	maxCacheBytes   = 16 << 20
	// entryOverhead is what an entry costs beside its key and its names, in
	// bytes, roughly.
	entryOverhead = 512
)

// cache remembers analyses, by shape where no literal matters and by whole
// text elsewhere. When it is full it forgets what was not used since it last
// looked (second chance), so that one job's one-off statements do not push
// out what is used all the time. Go's maps are seeded per process and compare
// whole keys: no text can be made to get another's analysis.
type cache struct {
	maxEntries, maxBytes int

	mu      sync.RWMutex
	entries map[string]*entry // guarded by mu
	ring    []*entry          // guarded by mu
	hand    int               // guarded by mu; where the next look begins
	bytes   int               // guarded by mu
}

// entry is one remembered analysis.
type entry struct {
	key      string
	analysis *Analysis // nil: texts of this shape are remembered one by one
	size     int       // in bytes, roughly
	used     atomic.Bool
}

func newCache(maxEntries, maxBytes int) *cache {
	return &cache{maxEntries: maxEntries, maxBytes: maxBytes, entries: make(map[string]*entry)}
}

// find returns what is remembered under key; known is true with a nil analysis
// where the texts of a shape are remembered one by one.
func (c *cache) find(key []byte) (analysis *Analysis, known bool) {
	c.mu.RLock()
	e := c.entries[string(key)]
	c.mu.RUnlock()
	if e == nil {
		return nil, false
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.analysis, true
}

// add remembers analysis under key, which it copies.
func (c *cache) add(key []byte, analysis *Analysis) {
	size := entryOverhead + len(key) + analysis.size()
	if size > c.maxBytes/16 {
		return
	}
	e := &entry{key: string(key), analysis: analysis, size: size}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[e.key] != nil {
		return
	}
	for len(c.ring) > 0 && (len(c.ring) >= c.maxEntries || c.bytes+e.size > c.maxBytes) {
		c.forgetOne()
	}
	c.entries[e.key] = e
	c.ring = append(c.ring, e)
	c.bytes += e.size
}

// forgetOne drops the next entry that was not used since the hand last passed.
func (c *cache) forgetOne() {
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
		delete(c.entries, e.key)
		c.bytes -= e.size
		return
	}
}

// size returns what an analysis holds, in bytes, roughly.
func (a *Analysis) size() int {
	if a == nil {
		return 0
	}
	n := 0
	for i := range a.Statements {
		st := &a.Statements[i]
		n += entryOverhead
		for _, names := range [...][]string{
			st.Relations, st.Columns, st.Functions, st.Writes, st.Aliases, st.Calls,
		} {
			for _, name := range names {
				n += 16 + len(name)
			}
		}
		n += st.Lineage.size()
		for _, effect := range st.Effects {
			n += 64 + len(effect.Name)
			for _, v := range effect.Values {
				n += 16 + len(v)
			}
		}
	}
	return n
}

// size returns what a lineage holds, in bytes, roughly. Names are shared.
func (l *Lineage) size() int {
	if l == nil {
		return 0
	}
	n := 0
	for i := range l.Outputs {
		n += 128 + 32*len(l.Outputs[i].Sources)
	}
	for i := range l.Written {
		n += 192 + 32*len(l.Written[i].Sources)
	}
	return n
}
