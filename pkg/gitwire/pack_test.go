package gitwire_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git's own object ids
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sluicegate/sluice/pkg/gitwire"
)

// packer writes packs, true ones and others.
type packer struct {
	bytes.Buffer

	count int
}

// entryHead is the type and size of an entry.
func entryHead(kind, size int) []byte {
	head := []byte{byte(kind<<4 | size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	return head
}

func deflate(content []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(content)
	_ = z.Close()
	return out.Bytes()
}

// add appends an entry that says to have size bytes, and returns its offset.
func (p *packer) add(kind, size int, base, content []byte) (at int) {
	at = 12 + p.Len()
	p.Write(entryHead(kind, size))
	p.Write(base)
	p.Write(deflate(content))
	p.count++
	return at
}

func (p *packer) object(kind int, content string) int {
	return p.add(kind, len(content), nil, []byte(content))
}

// back is how an offset delta that begins at the end names the entry at.
func (p *packer) back(at int) []byte {
	n := 12 + p.Len() - at
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		out = append([]byte{byte(0x80 | n&0x7f)}, out...)
	}
	return out
}

// pack is the whole, with a count that may lie.
func (p *packer) pack(count int) []byte {
	out := []byte("PACK\x00\x00\x00\x02")
	out = binary.BigEndian.AppendUint32(out, uint32(count))
	out = append(out, p.Bytes()...)
	sum := sha1.Sum(out) //nolint:gosec // likewise
	return append(out, sum[:]...)
}

func objectID(kind, content string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d\x00%s", kind, len(content), content)) //nolint:gosec // likewise
	return hex.EncodeToString(sum[:])
}

func commitOf(message string, parents ...string) string {
	var c strings.Builder
	c.WriteString("tree " + idA + "\n")
	for _, p := range parents {
		c.WriteString("parent " + p + "\n")
	}
	return c.String() + "author Ada <ada@example.com> 1 +0000\ncommitter Ada <ada@example.com> 1 +0000\n\n" + message + "\n"
}

// varint is a size as a delta begins with.
func varint(n int) []byte {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		out[len(out)-1] |= 0x80
		out = append(out, byte(n&0x7f))
	}
	return out
}

// deltaOf makes target of base, a common prefix copied and the rest written.
func deltaOf(base, target string) []byte {
	common := 0
	for common < min(len(base), len(target), 0xffff) && base[common] == target[common] {
		common++
	}
	out := append(varint(len(base)), varint(len(target))...)
	if common > 0 {
		out = append(out, 0x80|0x10|0x20, byte(common), byte(common>>8))
	}
	for rest := target[common:]; rest != ""; {
		n := min(len(rest), 0x7f)
		out = append(append(out, byte(n)), rest[:n]...)
		rest = rest[n:]
	}
	return out
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

func TestPackShowsItsCommitsHoweverTheyAreStored(t *testing.T) {
	base, next, last := commitOf("base"), commitOf("next"), commitOf("last words")
	ids := func(contents ...string) []string {
		var all []string
		for _, c := range contents {
			all = append(all, objectID("commit", c))
		}
		slices.Sort(all)
		return all
	}
	delta := deltaOf(base, next)
	tests := map[string]struct {
		make   func(p *packer)
		want   []string
		opaque bool
	}{
		"in full":           {func(p *packer) { p.object(1, base); p.object(3, "a blob"); p.object(2, "") }, ids(base), false},
		"twice":             {func(p *packer) { p.object(1, base); p.object(1, base) }, ids(base), false},
		"a delta by offset": {func(p *packer) { at := p.object(1, base); p.add(6, len(delta), p.back(at), delta) }, ids(base, next), false},
		"a delta far back": {func(p *packer) {
			at := p.object(1, base)
			p.object(3, strings.Repeat(fmt.Sprint(time.Now()), 1000))
			for range 300 {
				p.object(3, idB+fmt.Sprint(p.Len()))
			}
			p.add(6, len(delta), p.back(at), delta)
		}, ids(base, next), false},
		"a delta of a delta": {func(p *packer) {
			at := p.object(1, base)
			at = p.add(6, len(delta), p.back(at), delta)
			second := deltaOf(next, last)
			p.add(6, len(second), p.back(at), second)
		}, ids(base, next, last), false},
		"a delta by name": {func(p *packer) {
			p.object(1, base)
			p.add(7, len(delta), unhex(objectID("commit", base)), delta)
		}, ids(base, next), false},
		"a delta before its base": {func(p *packer) {
			p.add(7, len(delta), unhex(objectID("commit", base)), delta)
			p.object(1, base)
		}, ids(base, next), false},
		"deltas by name of deltas by name, last first": {func(p *packer) {
			second := deltaOf(next, last)
			at := p.add(7, len(second), unhex(objectID("commit", next)), second)
			third := deltaOf(last, next+"x")
			p.add(6, len(third), p.back(at), third)
			p.add(7, len(delta), unhex(objectID("commit", base)), delta)
			p.object(1, base)
		}, ids(base, next, last, next+"x"), false},
		"a delta of what is not there": {func(p *packer) { p.add(7, len(delta), unhex(idB), delta) }, nil, true},
		"a delta of a blob that is there": {func(p *packer) {
			p.object(3, "a blob")
			blob := deltaOf("a blob", "another")
			p.add(7, len(blob), unhex(objectID("blob", "a blob")), blob)
		}, nil, false},
		"a delta of another base": {func(p *packer) { at := p.object(1, base+"x"); p.add(6, len(delta), p.back(at), delta) }, ids(base + "x"), true},
		"a delta that copies too much": {func(p *packer) {
			at := p.object(1, base)
			bad := append(append(varint(len(base)), varint(0x10000)...), 0x80)
			p.add(6, len(bad), p.back(at), bad)
		}, ids(base), true},
		"a delta of a commit that makes a blob's content": {func(p *packer) {
			at := p.object(1, base)
			bad := deltaOf(base, "no commit at all")
			p.add(6, len(bad), p.back(at), bad)
		}, ids(base), true},
		"a commit without an author": {func(p *packer) { p.object(1, "tree "+idA+"\n\nwords\n") }, nil, true},
		"a commit with more parents than anybody has": {func(p *packer) {
			p.object(1, commitOf("many", slices.Repeat([]string{idB}, 2000)...))
		}, nil, true},
		"a commit with a long message": {func(p *packer) { p.object(1, commitOf(strings.Repeat("long ", 1<<16))) }, ids(commitOf(strings.Repeat("long ", 1<<16))), false},
		"a delta of itself": {func(p *packer) {
			p.add(7, len(delta), unhex(objectID("commit", next)), delta)
		}, nil, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p packer
			test.make(&p)
			wire := append(p.pack(p.count), "what follows"...)
			got, err := gitwire.ReadPack(bytes.NewReader(wire), gitwire.Limits{Memory: 100})
			if err != nil || got.Objects != p.count || !slices.Equal(got.Commits, test.want) || got.Opaque != test.opaque {
				t.Errorf("%+v, %v; want %d objects, commits %q, opaque %v", got, err, p.count, test.want, test.opaque)
			}
			if string(got.Rest) != "what follows" {
				t.Errorf("%q is left behind the pack", got.Rest)
			}
			again, err := gitwire.ReadPack(iotest.OneByteReader(bytes.NewReader(wire)), gitwire.Limits{})
			if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
				t.Errorf("by bytes: %+v, %v", again, err)
			}
		})
	}
}

func TestPackThatLiesIsRefused(t *testing.T) {
	whole := func() *packer {
		var p packer
		at := p.object(1, commitOf("base"))
		delta := deltaOf(commitOf("base"), commitOf("next"))
		p.add(6, len(delta), p.back(at), delta)
		p.object(3, "a blob")
		return &p
	}
	sum := func(b []byte) []byte { // with a checksum that is right
		b = b[:len(b)-sha1.Size]
		s := sha1.Sum(b) //nolint:gosec // likewise
		return append(b, s[:]...)
	}
	edit := func(at int, b byte) []byte {
		wire := whole().pack(3)
		wire[at] = b
		return sum(wire)
	}
	one := func(add func(p *packer)) []byte {
		var p packer
		add(&p)
		return p.pack(p.count)
	}
	delta := deltaOf("x", "y")
	for name, wire := range map[string][]byte{
		"no magic":                     edit(0, 'X'),
		"an unknown version":           edit(7, 9),
		"more objects than there are":  whole().pack(4),
		"fewer objects than there are": whole().pack(2),
		"no objects, and some":         whole().pack(0),
		"an impossible count":          whole().pack(1 << 31),
		"a wrong checksum":             append(whole().pack(3)[:len(whole().pack(3))-1], 0),
		"type 0":                       one(func(p *packer) { p.add(0, 1, nil, []byte("x")) }),
		"type 5":                       one(func(p *packer) { p.add(5, 1, nil, []byte("x")) }),
		"larger than it says":          one(func(p *packer) { p.add(3, 3, nil, []byte("four")) }),
		"smaller than it says":         one(func(p *packer) { p.add(3, 5, nil, []byte("four")) }),
		"larger than nothing":          one(func(p *packer) { p.add(3, 0, nil, []byte("four")) }),
		"an impossible size":           one(func(p *packer) { p.Write(bytes.Repeat([]byte{0xff}, 12)); p.count++ }),
		"an offset to itself":          one(func(p *packer) { p.add(6, len(delta), []byte{0}, delta) }),
		"an offset before the pack":    one(func(p *packer) { p.add(6, len(delta), []byte{0x7f}, delta) }),
		"an impossible offset":         one(func(p *packer) { p.add(6, len(delta), bytes.Repeat([]byte{0xff}, 20), delta) }),
		"not compressed": one(func(p *packer) {
			p.Write(entryHead(3, 4))
			p.WriteString("four")
			p.count++
		}),
		"a wrong inner checksum": one(func(p *packer) {
			data := deflate([]byte("four"))
			data[len(data)-1]++
			p.Write(entryHead(3, 4))
			p.Write(data)
			p.count++
		}),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := gitwire.ReadPack(bytes.NewReader(wire), gitwire.Limits{}); err == nil {
				t.Errorf("it was read: %+v", got)
			}
		})
	}
	wire := whole().pack(3)
	for n := range wire {
		if _, err := gitwire.ReadPack(bytes.NewReader(wire[:n]), gitwire.Limits{}); err == nil {
			t.Errorf("its first %d bytes were read as a pack", n)
		}
	}
}

// Bombs cost bounded time and memory.
func TestBombs(t *testing.T) {
	zeros := deflate(make([]byte, 64<<20))
	t.Run("zip", func(t *testing.T) {
		var p packer
		for range 64 {
			p.Write(entryHead(3, 64<<20))
			p.Write(zeros)
			p.count++
		}
		_, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{Inflated: 1 << 30})
		if err == nil || !strings.Contains(err.Error(), "larger than this agent takes") {
			t.Errorf("%d bytes for 4 GiB: %v", p.Len(), err)
		}
	})
	t.Run("a commit of 64 MiB", func(t *testing.T) {
		var p packer
		p.Write(entryHead(1, 64<<20))
		p.Write(zeros)
		if got, err := gitwire.ReadPack(bytes.NewReader(p.pack(1)), gitwire.Limits{}); err != nil || !got.Opaque {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("delta", func(t *testing.T) { // each doubles what it is made of
		var p packer
		at, size := p.object(1, commitOf("base")), len(commitOf("base"))
		for range 64 {
			double := append(append(varint(size), varint(2*size)...), 0x80|0x70, byte(size), byte(size>>8), byte(size>>16))
			double = append(double, double[len(double)-4:]...)
			at = p.add(6, len(double), p.back(at), double)
			size *= 2
			if size > 1<<23 {
				size = 1 << 23
			}
		}
		if got, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{}); err != nil || !got.Opaque {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("many large deltas", func(t *testing.T) {
		var p packer
		at, size := p.object(1, commitOf("base")), len(commitOf("base"))
		large := append(varint(size), varint(900<<10)...)
		for left := 900 << 10; left > 0; left -= min(left, size) {
			n := min(left, size)
			large = append(large, 0x80|0x30, byte(n), byte(n>>8))
		}
		for range 2000 {
			p.add(6, len(large), p.back(at), large)
		}
		began := time.Now()
		if got, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{}); err != nil || !got.Opaque {
			t.Errorf("%+v, %v", got, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("2 GB of deltas took %v", took)
		}
	})
	t.Run("a long chain, last first", func(t *testing.T) {
		var p packer
		contents := []string{commitOf("0")}
		for n := range 300 {
			contents = append(contents, commitOf(fmt.Sprint(n+1)))
		}
		for n := len(contents) - 1; n > 0; n-- {
			delta := deltaOf(contents[n-1], contents[n])
			p.add(7, len(delta), unhex(objectID("commit", contents[n-1])), delta)
		}
		p.object(1, contents[0])
		if got, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{}); err != nil || len(got.Commits) != len(contents) {
			t.Errorf("%d of %d commits, %v", len(got.Commits), len(contents), err)
		}
	})
}

func FuzzReadPack(f *testing.F) {
	var p packer
	at := p.object(1, commitOf("base"))
	delta := deltaOf(commitOf("base"), commitOf("next"))
	p.add(6, len(delta), p.back(at), delta)
	p.add(7, len(delta), unhex(objectID("commit", commitOf("base"))), delta)
	p.object(4, "object "+idA+"\ntype commit\ntag x\n")
	f.Add(p.pack(p.count))
	f.Fuzz(func(_ *testing.T, wire []byte) {
		_, _ = gitwire.ReadPack(bytes.NewReader(wire), gitwire.Limits{Inflated: 1 << 20})
	})
}

func FuzzApplyDelta(f *testing.F) {
	f.Add([]byte("base"), deltaOf("base", "based"))
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		if result, ok := gitwire.ApplyDelta(base, delta); ok && len(result) > 1<<20 {
			t.Errorf("%d bytes", len(result))
		}
	})
}
