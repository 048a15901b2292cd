package gitwire

import (
	"bytes"
	"io"
)

// history is an entry of a pack that is a commit or a tag, in full or as a
// delta of another such entry.
type history struct {
	kind objectKind
	data int64 // offset of its compressed data
	size int64 // of that data, inflated
	base int64 // offset of the entry that it is a delta of; 0: it is in full
}

// waiting is a delta whose base is named by id, or a delta of such a one: what
// it is shows only when all of the pack is known.
type waiting struct {
	at     int64
	entry  history
	baseID id // where entry.base is 0
}

// deltas finds the commits and tags among the deltas of a pack. Other objects
// are not its concern: what they hold decides nothing here.
type deltas struct {
	pack      *pack
	histories map[int64]history   // by offset
	chained   []int64             // offsets of histories that are deltas, not yet resolved
	named     map[id]int64        // offset of each history whose content was hashed
	waiting   map[int64]waiting   // by offset
	onEntry   map[int64][]waiting // of these, by the one that they are deltas of
	onName    map[id][]waiting    // of these, by the name of their base
	budget    int64               // bytes that may still be made of deltas
	cache     map[int64][]byte
	cached    int
	from      inflater
}

// What resolving deltas may cost. A pack that needs more is opaque.
const (
	maxWaiting = 64 << 10
	maxDelta   = 1 << 20  // bytes of one commit or tag, or of one delta of it
	maxChain   = 4 << 10  // deltas on top of each other; git makes 50
	maxWork    = 64 << 20 // bytes of all contents that are made or inflated
	maxCached  = 4 << 20
)

func newDeltas(p *pack) deltas {
	return deltas{
		pack: p, histories: map[int64]history{}, named: map[id]int64{}, waiting: map[int64]waiting{},
		onEntry: map[int64][]waiting{}, onName: map[id][]waiting{},
		budget: maxWork, cache: map[int64][]byte{}, from: inflater{store: &p.store},
	}
}

// full notes a commit or tag that is not a delta.
func (d *deltas) full(at int64, h history, name id) {
	if d.pack.holds(entryCost) {
		d.histories[at] = h
		d.named[name] = at
	}
}

// byOffset notes a delta of an earlier entry. One of an entry that is neither
// history nor waiting is a tree or a blob.
func (d *deltas) byOffset(at, data, size, base int64) {
	if of, ok := d.histories[base]; ok {
		if d.pack.holds(entryCost) {
			d.chain(at, history{kind: of.kind, data: data, size: size, base: base})
		}
		return
	}
	if _, ok := d.waiting[base]; ok {
		d.wait(waiting{at: at, entry: history{data: data, size: size, base: base}})
	}
}

// byID notes a delta of an object that may stand anywhere, or nowhere, in the
// pack.
func (d *deltas) byID(at, data, size int64, base id) {
	d.wait(waiting{at: at, entry: history{data: data, size: size}, baseID: base})
}

func (d *deltas) wait(w waiting) {
	if len(d.waiting) >= maxWaiting || !d.pack.holds(2*entryCost) {
		d.pack.opaque = true
		return
	}
	d.waiting[w.at] = w
	if w.entry.base == 0 {
		d.onName[w.baseID] = append(d.onName[w.baseID], w)
	} else {
		d.onEntry[w.entry.base] = append(d.onEntry[w.entry.base], w)
	}
}

// chain notes a delta of a commit or a tag, and that those which wait for it
// are too.
func (d *deltas) chain(at int64, h history) {
	d.histories[at] = h
	d.chained = append(d.chained, at)
	for _, w := range d.onEntry[at] {
		d.known(w, at)
	}
	delete(d.onEntry, at)
}

// known ends the waiting of a delta whose base is a commit or a tag.
func (d *deltas) known(w waiting, base int64) {
	w.entry.kind, w.entry.base = d.histories[base].kind, base
	delete(d.waiting, w.at)
	d.chain(w.at, w.entry)
}

// resolve makes the contents of all deltas that are commits or tags; each name
// may make more of them known. What is left waiting makes the pack opaque, unless
// its base is known to be a tree or a blob.
func (d *deltas) resolve() {
	for name, at := range d.named {
		d.release(name, at)
	}
	for ; len(d.chained) > 0 && d.budget >= 0; d.chained = d.chained[1:] {
		d.restore(d.chained[0])
	}
	d.pack.opaque = d.pack.opaque || len(d.chained) > 0
	for _, w := range d.waiting {
		if _, plain := d.pack.plain[w.baseID]; w.entry.base != 0 || !plain {
			d.pack.opaque = true
			break
		}
	}
	*d = deltas{}
}

// release ends the waiting for a name.
func (d *deltas) release(name id, at int64) {
	for _, w := range d.onName[name] {
		d.known(w, at)
	}
	delete(d.onName, name)
}

// restore makes one delta's content and notes what it says. Nothing is made of
// one that cannot be made.
func (d *deltas) restore(at int64) {
	content, ok := d.content(at)
	if !ok {
		d.pack.opaque = true
		delete(d.histories, at)
		return
	}
	kind := d.histories[at].kind
	h := d.pack.format.object(kind, int64(len(content)))
	_, _ = h.Write(content) // a hash never fails
	name := d.pack.format.sum(h)
	d.pack.add(kind, name, int64(len(content)), content)
	if _, again := d.named[name]; !again {
		d.named[name] = at
		d.release(name, at)
	}
}

// content returns the bytes of a history: those of the nearest one below it
// that are at hand, and each delta from there on applied. They are kept, so
// that a long chain costs each of its deltas once.
func (d *deltas) content(at int64) ([]byte, bool) {
	var chain []history
	below := at
	content, cached := d.cache[below]
	for !cached {
		h, is := d.histories[below]
		if !is {
			return nil, false
		}
		if chain = append(chain, h); len(chain) > maxChain {
			return nil, false
		}
		if h.base == 0 {
			break
		}
		below = h.base
		content, cached = d.cache[below]
	}
	for i := len(chain) - 1; i >= 0; i-- {
		data, ok := d.inflate(chain[i])
		if ok && chain[i].base != 0 {
			data, ok = applyDelta(content, data, maxDelta)
		}
		if !ok || !d.spend(int64(len(data))) {
			return nil, false
		}
		content = data
	}
	if d.cached += len(content); d.cached > maxCached {
		clear(d.cache)
		d.cached = len(content)
	}
	d.cache[at] = content
	return content, true
}

func (d *deltas) spend(n int64) bool {
	d.budget -= n
	return d.budget >= 0
}

// inflate reads an entry's data again from where the pack is kept.
func (d *deltas) inflate(h history) ([]byte, bool) {
	if h.size > maxDelta || !d.spend(h.size) {
		return nil, false
	}
	return d.from.inflate(h.data, h.size)
}

// deltaMakes reads the size of what a delta makes from its beginning.
func deltaMakes(delta []byte) (int64, bool) {
	from := bytes.NewReader(delta)
	if _, err := varint(from, 0); err != nil {
		return 0, false
	}
	size, err := varint(from, 0)
	return size, err == nil
}

// applyDelta makes an object of its base and a delta. It reports false for a
// delta that git would refuse, or whose result is too large.
func applyDelta(base, delta []byte, limit int64) ([]byte, bool) {
	from := bytes.NewReader(delta)
	baseSize, err := varint(from, 0)
	if err != nil || baseSize != int64(len(base)) {
		return nil, false
	}
	size, err := varint(from, 0)
	if err != nil || size > limit {
		return nil, false
	}
	result := make([]byte, 0, size)
	for from.Len() > 0 {
		piece, ok := instruction(from, delta, base)
		if !ok || int64(len(result)+len(piece)) > size {
			return nil, false
		}
		result = append(result, piece...)
	}
	return result, int64(len(result)) == size
}

// instruction returns what one instruction of a delta adds: bytes of its own,
// or a range of the base, whose offset and size are given byte by byte where
// they are not zero.
func instruction(from *bytes.Reader, delta, base []byte) ([]byte, bool) {
	op, err := from.ReadByte()
	if err != nil || op == 0 {
		return nil, false
	}
	if op&0x80 == 0 {
		at := len(delta) - from.Len()
		if int(op) > from.Len() {
			return nil, false
		}
		_, err = from.Seek(int64(op), io.SeekCurrent)
		return delta[at : at+int(op)], err == nil
	}
	var fields [7]byte
	for i := range fields {
		if op&(1<<i) == 0 {
			continue
		}
		if fields[i], err = from.ReadByte(); err != nil {
			return nil, false
		}
	}
	at := int64(fields[0]) | int64(fields[1])<<8 | int64(fields[2])<<16 | int64(fields[3])<<24
	size := int64(fields[4]) | int64(fields[5])<<8 | int64(fields[6])<<16
	if size == 0 {
		size = 0x10000
	}
	if at+size > int64(len(base)) {
		return nil, false
	}
	return base[at : at+size], true
}
