package gitwire

import (
	"context"
	"slices"
)

// Bounds of what is named for the record. What is beyond them decides nothing.
const (
	maxNamedSize = 8 << 20   // bytes of an object that is a delta, or the base of one
	maxNamedWork = 256 << 20 // bytes that are inflated or made of deltas
	maxNamedHeld = 32 << 20  // bytes of contents at hand at one time: a chain of deltas
)

// catalogue names the objects of a pack for the record: those that are in full
// as the pack is read, and deltas afterwards, where their base is in the pack.
type catalogue struct {
	entries []catalogued  // the first of the pack, in its order
	waiting map[id][]link // deltas of objects that have no name yet, by that name
	limit   int           // of entries
	own     *share        // of the memory
	budget  int64
}

// link is an entry's place in a catalogue, plus one; 0 is none.
type link int32

// catalogued is an entry of a pack.
type catalogued struct {
	name     id         // of a delta that is not made: of the object below it that the pack does not make
	kind     objectKind // a delta's, as long as that is not made
	at, data int64      // offsets of the entry, and of its compressed data
	stored   int64      // bytes of that data, inflated
	size     int64      // of the object
	base     link       // of a delta of an earlier entry
	first    link       // delta of this one
	next     link       // delta of the same base
}

func newCatalogue(limit int, own *share) catalogue {
	return catalogue{waiting: map[id][]link{}, limit: limit, own: own, budget: maxNamedWork}
}

// room reports whether more objects are named.
func (c *catalogue) room() bool { return len(c.entries) < c.limit }

// full notes an object that is not a delta.
func (c *catalogue) full(at, data, size int64, kind objectKind, name id) {
	if c.room() && c.own.keep(entryCost) {
		c.entries = append(c.entries, catalogued{name: name, kind: kind, at: at, data: data, stored: size, size: size})
	}
}

// delta notes one that is a delta of an earlier entry, or, where that is 0, of
// a named object.
func (c *catalogue) delta(at, data, stored, size, base int64, name id) {
	if !c.room() || !c.own.keep(entryCost) {
		return
	}
	e := catalogued{at: at, data: data, stored: stored, size: size, kind: refDelta, name: name}
	self := link(len(c.entries) + 1)
	if base != 0 {
		place, found := slices.BinarySearchFunc(c.entries, base, func(e catalogued, at int64) int { return int(e.at - at) })
		if !found {
			return // of no entry: the server refuses such a pack
		}
		below := &c.entries[place]
		e.kind, e.base, e.next = offsetDelta, link(place+1), below.first
		below.first = self
	} else {
		c.waiting[name] = append(c.waiting[name], self)
	}
	c.entries = append(c.entries, e)
}

// resolve names deltas, and notes of the others what they are deltas of.
func (c *catalogue) resolve(ctx context.Context, p *pack) {
	for i := range c.entries {
		if e := &c.entries[i]; e.kind != offsetDelta && e.kind != refDelta {
			c.adopt(e)
		}
	}
	m := maker{catalogue: c, pack: p, from: inflater{store: &p.store}}
	for i := range c.entries {
		if e := &c.entries[i]; e.first != 0 && e.kind != offsetDelta && e.kind != refDelta && !m.make(ctx, e) {
			break
		}
	}
	for i := range c.entries {
		if e := &c.entries[i]; e.kind == offsetDelta {
			e.name = c.entries[e.base-1].name // which is earlier, and has been here
		}
	}
	c.waiting = nil
}

// adopt makes what waited for an object deltas of it, now that it has a name.
func (c *catalogue) adopt(e *catalogued) {
	for _, l := range c.waiting[e.name] {
		c.entries[l-1].next, e.first = e.first, l
	}
	delete(c.waiting, e.name)
}

// maker makes objects of deltas, from each base upwards, so that every content
// is made once and only those of one chain are at hand.
type maker struct {
	*catalogue
	pack  *pack
	from  inflater
	chain []made
	held  int // bytes of chain
}

// made is an object of which deltas are still to be made.
type made struct {
	content []byte
	next    link
}

// make makes all that is above an object that is in full. It reports false
// where no more can be afforded.
func (m *maker) make(ctx context.Context, root *catalogued) bool {
	if root.size > maxNamedSize || !m.spend(root.size) {
		return m.budget >= 0
	}
	if !m.own.keep(root.size) {
		return false
	}
	content, ok := m.from.inflate(root.data, root.stored)
	if !ok {
		m.own.free(root.size)
		return true
	}
	m.chain, m.held = append(m.chain[:0], made{content, root.first}), len(content)
	for len(m.chain) > 0 {
		top := &m.chain[len(m.chain)-1]
		if top.next == 0 {
			m.held -= len(top.content)
			m.own.free(int64(len(top.content)))
			m.chain = m.chain[:len(m.chain)-1]
			continue
		}
		e := &m.entries[top.next-1]
		top.next = e.next
		if ctx.Err() != nil || !m.above(e, root.kind, top.content) {
			return false
		}
	}
	return true
}

// above makes one delta of a content.
func (m *maker) above(e *catalogued, kind objectKind, base []byte) bool {
	if e.stored > maxNamedSize || e.size > maxNamedSize {
		return true
	}
	if !m.spend(e.stored + e.size) {
		return false
	}
	delta, ok := m.from.inflate(e.data, e.stored)
	if !ok {
		return true
	}
	content, ok := applyDelta(base, delta, maxNamedSize)
	if !ok || int64(len(content)) != e.size {
		return true
	}
	h := m.pack.format.object(kind, e.size)
	_, _ = h.Write(content) // a hash never fails
	e.name, e.kind = m.pack.format.sum(h), kind
	m.adopt(e)
	if e.first != 0 && len(m.chain) < maxChain && m.held+len(content) <= maxNamedHeld && m.own.keep(int64(len(content))) {
		m.chain, m.held = append(m.chain, made{content, e.first}), m.held+len(content)
	}
	return true
}

func (c *catalogue) spend(n int64) bool {
	c.budget -= n
	return c.budget >= 0
}
