package gitwire

import "io"

// maxHeld bounds the memory for the history of one pack: some 100,000 commits.
const maxHeld = 64 << 20

// What one thing costs that is kept, in bytes: in maps, in lists, and where a walk
// comes by.
const (
	commitCost = 512
	parentCost = 160
	entryCost  = 192
)

// maxHistory bounds what is kept of one commit or tag. Its parents come first;
// the rest is hashed, and not kept.
const maxHistory = 64 << 10

// history reads a commit or a tag.
func (r *packReader) history(began int64, kind objectKind, size int64) error {
	h := r.pack.format.object(kind, size)
	head := head{limit: maxHistory}
	data := r.at
	if err := r.inflate(size, io.MultiWriter(h, &head)); err != nil {
		return err
	}
	name := r.pack.format.sum(h)
	r.pack.add(kind, name, size, head.b)
	r.pack.names.full(began, data, size, kind, name)
	r.deltas.full(began, history{kind: kind, data: data, size: size}, name)
	return nil
}

// add keeps what a commit or a tag says.
func (p *pack) add(kind objectKind, name id, size int64, content []byte) {
	if kind == tagObject {
		tagged, ok := p.format.parseTag(content)
		if p.opaque = p.opaque || !ok; p.holds(commitCost) {
			p.tags[name] = tagged
		}
		p.list(name, kind, size)
		return
	}
	c, ok := p.format.parseCommit(content)
	if !ok {
		p.opaque = true // as git would never write it, or with more parents than are read
		return
	}
	if _, again := p.commits[name]; !again && p.holds(commitCost+parentCost*int64(len(c.parents))+int64(len(c.author)+len(c.subject))) {
		p.commits[name] = c
		p.order = append(p.order, name)
	}
}

// holds reports whether so much more of a history can be kept. What is not makes
// the pack opaque.
func (p *pack) holds(n int64) bool {
	if p.held+n > maxHeld || !p.memory.keep(n) {
		p.opaque = true
		return false
	}
	p.held += n
	return true
}

// forget frees the history, once it has been judged.
func (p *pack) forget() {
	if p != nil {
		p.commits, p.tags, p.plain, p.order = nil, nil, nil, nil
		p.memory.forget()
	}
}

// close frees all that is kept.
func (p *pack) close() {
	if p != nil {
		p.forget()
		p.store.close()
	}
}
