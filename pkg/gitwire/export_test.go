package gitwire

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"sort"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// ReadPush reads a request from a client to a server that offers the given
// capabilities, and returns its references, or why it was refused.
func ReadPush(from io.Reader, offered string) (names, options []string, err error) {
	words, _ := parseCapabilities(offered)
	f, _ := formatNamed(words.value("object-format"))
	asked, err := readRequest(newSource(from), advertisement{format: f, capabilities: words}, 1<<20, nil)
	for _, u := range asked.updates {
		names = append(names, u.name)
	}
	return names, asked.options, err
}

// PackSummary is what ReadPack tells.
type PackSummary struct {
	Objects int
	Commits []string // sorted
	Opaque  bool
	Rest    []byte // what stands behind the pack
	Names   string // of its objects, as they are recorded
}

// ReadPack reads a pack of SHA-1 objects.
func ReadPack(from io.Reader, limits Limits) (PackSummary, error) {
	limits = limits.withDefaults()
	source := newSource(from)
	p, err := readPack(context.Background(), source, sha1Format, limits, nil)
	defer p.store.close()
	p.names.resolve(context.Background(), p)
	var names []byte
	for i := range p.names.entries {
		names = p.appendName(names, &p.names.entries[i])
	}
	s := PackSummary{Names: string(names), Objects: p.objects, Opaque: p.opaque}
	for name := range p.commits {
		s.Commits = append(s.Commits, hex.EncodeToString(name[:p.format.size]))
	}
	sort.Strings(s.Commits)
	if err == nil {
		kept, _ := io.ReadAll(p.store.reader())
		if int64(len(kept)) != p.store.size {
			panic("the store lost bytes")
		}
		s.Rest, _ = io.ReadAll(source)
	}
	return s, err
}

// ApplyDelta exports applyDelta.
func ApplyDelta(base, delta []byte) ([]byte, bool) { return applyDelta(base, delta, maxDelta) }

// RelayAdvertisement returns what passes of receive-pack's advertisement.
func RelayAdvertisement(from []byte) (passed []byte, err error) {
	_, err = relayAdvertisement(newSource(bytes.NewReader(from)), func(line []byte) error {
		passed = append(passed, line...)
		return nil
	})
	return passed, err
}

// ReadUpload exports readUpload.
func ReadUpload(from io.Reader) error {
	_, err := readUpload(newSource(from), "")
	return err
}

// ValidRef exports validRef.
func ValidRef(name string) bool { return validRef(name) }

// ParseCommit returns the parents of a SHA-1 commit.
func ParseCommit(content []byte) (parents []string, ok bool) {
	c, ok := sha1Format.parseCommit(content)
	for _, p := range c.parents {
		parents = append(parents, sha1Format.hex(p))
	}
	return parents, ok
}

// Words exports shellWords.
func Words(line string) ([]string, bool) { return shellWords(line) }

// ReadOnly reads a pack as a push does before it is decided, and after that
// where deltas are to be named; it returns how many are not.
func ReadOnly(from io.Reader, limits Limits, deltas bool) (left int, err error) {
	p, err := readPack(context.Background(), newSource(from), sha1Format, limits.withDefaults(), nil)
	defer p.store.close()
	if deltas {
		p.names.resolve(context.Background(), p)
	}
	for i := range p.names.entries {
		if k := p.names.entries[i].kind; k == offsetDelta || k == refDelta {
			left++
		}
	}
	return left, err
}

// Memory bounds what a workload has of a room's memory, and returns what is taken
// of it.
func (r *Room) Memory(each int64) (taken func() int64) {
	r.memory = protocol.NewPool(each, allMemory)
	return r.memory.Taken
}

// Turn waits for a workload's turn.
func (r *Room) Turn(ctx context.Context, workload uint64) (done func(), err error) {
	return r.turns.take(ctx, workload)
}

// Lines is how many workloads have turns or wait for them.
func (r *Room) Lines() int {
	r.turns.mu.Lock()
	defer r.turns.mu.Unlock()
	return len(r.turns.of)
}

// ReadPack reads a pack of a workload's.
func (r *Room) ReadPack(ctx context.Context, workload uint64, from io.Reader) error {
	p, err := readPack(ctx, newSource(from), sha1Format, Limits{}.withDefaults(), &share{room: r, workload: workload})
	p.close()
	return err
}
