package gitwire

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// pack is what is known of a pack: the history in it, and what people want to
// see of the rest. Each id is the hash of content that the pack holds.
type pack struct {
	format  format
	store   store
	digest  [sha256.Size]byte // of all its bytes
	objects int
	counts  [8]int // by objectKind, as the pack has them: a delta is one
	listed  []listed
	names   catalogue
	memory  *share // for the history
	held    int64  // bytes of it
	commits map[id]commit
	order   []id            // of commits, as they stand in the pack: git puts the newest first
	tags    map[id]id       // annotated tags: what each names
	plain   map[id]struct{} // some trees and blobs: those that are named
	// opaque: an entry could be a commit or tag that is not above, because it
	// is a delta whose base is not in the pack, or costs too much.
	opaque bool
}

// listed is an object as it is shown.
type listed struct {
	id   id
	kind objectKind
	size int64
}

// maxListed bounds how many trees, blobs and tags people are shown by name.
const maxListed = 256

// deltaHeader is how much of a delta says the sizes of its base and of what it
// makes: two numbers of seven bits a byte.
const deltaHeader = 20

// packReader decodes a pack in one pass.
type packReader struct {
	from     *source
	limits   Limits
	pack     *pack
	at       int64 // offset of what comes next
	inflated int64
	zlib     io.ReadCloser // reused
	buf      []byte
	deltas   deltas
	trailer  hash.Hash
	whole    hash.Hash
}

// readPack reads a pack to its end and not a byte further. Where a limit ends
// it early, the pack holds what was read until then. The caller closes the
// pack's store in any case.
func readPack(ctx context.Context, from *source, f format, limits Limits, own *share) (*pack, error) {
	p := &pack{
		format: f, commits: map[id]commit{}, tags: map[id]id{}, plain: map[id]struct{}{}, names: newCatalogue(limits.Names, own),
		store:  store{limit: limits.Pack, memory: limits.Memory, dir: limits.Dir, share: own},
		memory: own.apart(),
	}
	r := packReader{from: from, limits: limits, pack: p, buf: make([]byte, 32<<10), trailer: f.new(), whole: sha256.New()}
	r.deltas = newDeltas(p)
	end, err := own.inTurns(ctx, from)
	if err != nil {
		return p, err
	}
	defer end()
	from.tell(r.keep)
	err = r.read()
	if settled := from.settle(nil); err == nil {
		err = settled
	}
	r.whole.Sum(p.digest[:0])
	if err == nil {
		r.deltas.resolve()
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errPackCut
	}
	return p, err
}

var errPackCut = errors.New("a pack is cut short")

// packFault is what is wrong with a pack, safe to log.
type packFault string

func (f packFault) Error() string { return "a pack " + string(f) }

// keep is the source's sink.
func (r *packReader) keep(taken []byte) error {
	_, _ = r.trailer.Write(taken) // a hash never fails
	return r.keepTrailer(taken)
}

func (r *packReader) keepTrailer(taken []byte) error {
	_, _ = r.whole.Write(taken) // likewise
	return r.pack.store.write(taken)
}

func (r *packReader) read() error {
	head, err := r.take(12)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte("PACK")) {
		return packFault("does not begin as one")
	}
	if version := binary.BigEndian.Uint32(head[4:]); version != 2 && version != 3 {
		return packFault("has an unknown version")
	}
	count := binary.BigEndian.Uint32(head[8:])
	if int64(count) > int64(r.limits.Objects) {
		return fmt.Errorf("a pack of %d objects: %w", count, errLimit)
	}
	for range count {
		if err := r.entry(); err != nil {
			return err
		}
		r.pack.objects++
	}
	if err := r.from.settle(r.keepTrailer); err != nil {
		return err
	}
	trailer, err := r.take(r.pack.format.size)
	if err != nil {
		return err
	}
	if !bytes.Equal(trailer, r.trailer.Sum(nil)) {
		return packFault("has a wrong checksum")
	}
	return nil
}

func (r *packReader) take(n int) ([]byte, error) {
	b, err := r.from.take(n)
	r.at += int64(len(b))
	return b, err
}

// ReadByte and Read count what inflating takes.
func (r *packReader) ReadByte() (byte, error) {
	b, err := r.from.ReadByte()
	if err == nil {
		r.at++
	}
	return b, err
}

func (r *packReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.at += int64(n)
	return n, err
}

// entry reads one object or delta.
func (r *packReader) entry() error {
	began := r.at
	kind, size, err := entryHeader(r)
	if err != nil {
		return err
	}
	if r.inflated += size; size > r.limits.Inflated || r.inflated > r.limits.Inflated {
		return fmt.Errorf("the objects of a pack: %w", errLimit)
	}
	r.pack.counts[kind]++
	switch kind {
	case commitObject, tagObject:
		return r.history(began, kind, size)
	case treeObject, blobObject:
		return r.content(began, kind, size)
	case offsetDelta:
		back, err := offset(r)
		if err != nil {
			return err
		}
		if back <= 0 || back >= began {
			return packFault("has a delta without a base")
		}
		r.deltas.byOffset(began, r.at, size, began-back)
		return r.delta(began, size, began-back, id{})
	case refDelta:
		name, err := r.take(r.pack.format.size)
		if err != nil {
			return err
		}
		var base id
		copy(base[:], name)
		r.deltas.byID(began, r.at, size, base)
		return r.delta(began, size, 0, base)
	}
	return r.inflate(size, io.Discard)
}

// delta reads one.
func (r *packReader) delta(began, size, base int64, name id) error {
	head := head{limit: deltaHeader}
	data := r.at
	if err := r.inflate(size, &head); err != nil {
		return err
	}
	if makes, ok := deltaMakes(head.b); ok {
		r.pack.names.delta(began, data, size, makes, base, name)
	}
	return nil
}

// content reads a tree or a blob, by name while there is room for names.
func (r *packReader) content(began int64, kind objectKind, size int64) error {
	if !r.pack.names.room() || !r.pack.memory.keep(entryCost) {
		return r.inflate(size, io.Discard)
	}
	h := r.pack.format.object(kind, size)
	data := r.at
	if err := r.inflate(size, h); err != nil {
		return err
	}
	name := r.pack.format.sum(h)
	r.pack.plain[name] = struct{}{}
	r.pack.names.full(began, data, size, kind, name)
	r.pack.list(name, kind, size)
	return nil
}

func (p *pack) list(name id, kind objectKind, size int64) {
	if len(p.listed) < maxListed {
		p.listed = append(p.listed, listed{name, kind, size})
	}
}

// inflate writes the next object to w. It must have exactly the size that its
// header says; zlib's own checksum is checked too.
func (r *packReader) inflate(size int64, w io.Writer) error {
	var err error
	if r.zlib == nil {
		r.zlib, err = zlib.NewReader(r)
	} else {
		err = r.zlib.(zlib.Resetter).Reset(r, nil)
	}
	if err != nil {
		return inflateFault(err)
	}
	return inflateExactly(w, r.zlib, size, r.buf)
}

// inflateExactly copies size bytes and expects the end there.
func inflateExactly(w io.Writer, from io.Reader, size int64, buf []byte) error {
	for left := size; left > 0; {
		n, err := from.Read(buf[:min(int64(len(buf)), left)])
		if _, failed := w.Write(buf[:n]); failed != nil {
			return failed
		}
		left -= int64(n)
		if errors.Is(err, io.EOF) && left > 0 {
			return packFault("has an object that is smaller than it says")
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return inflateFault(err)
		}
	}
	for {
		n, err := from.Read(buf[:1])
		if n > 0 {
			return packFault("has an object that is larger than it says")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return inflateFault(err)
		}
	}
}

// inflateFault keeps limits and faults of the stream apart from broken data.
func inflateFault(err error) error {
	if tooLarge(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return err
	}
	if errors.Is(err, zlib.ErrHeader) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, zlib.ErrDictionary) {
		return packFault("has an object that is not compressed")
	}
	return fmt.Errorf("read a pack: %w", err)
}

// head keeps the beginning of what is written to it.
type head struct {
	b     []byte
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), h.limit-len(h.b))]...)
	return len(p), nil
}
