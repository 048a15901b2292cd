package record

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// batchTitle is the first line of a batch note.
const batchTitle = "sluice.audit-batch/2"

// MaxNote bounds a signed batch note, in bytes.
const MaxNote = 2 << 10

// Epoch names one run of an agent: 16 random bytes. The zero value names none.
type Epoch [16]byte

// String returns the epoch in hex, "-" for none.
func (e Epoch) String() string {
	if e == (Epoch{}) {
		return "-"
	}
	return hex.EncodeToString(e[:])
}

// ParseEpoch reads what String wrote, and nothing else.
func ParseEpoch(s string) (Epoch, error) {
	var e Epoch
	if s == "-" {
		return e, nil
	}
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(e) {
		return Epoch{}, errors.New("parse epoch: not 16 bytes in hex")
	}
	copy(e[:], raw)
	if e.String() != s {
		return Epoch{}, errors.New("parse epoch: not in its one form")
	}
	return e, nil
}

// MarshalText writes String.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (e *Epoch) UnmarshalText(text []byte) error {
	parsed, err := ParseEpoch(string(text))
	*e = parsed
	return err
}

// Reason says why an epoch began.
type Reason string

// The reasons.
const (
	Boot    Reason = "boot"    // first start, or after a seal
	Recover Reason = "recover" // the epoch before has no seal: a crash, a kill, a power loss
)

// Clock says whether the kernel called the clock synchronised.
type Clock string

// The states of the clock.
const (
	Synced   Clock = "synced"
	Unsynced Clock = "unsynced"
)

// Seen is the newest checkpoint of the collector's log that the agent has
// verified. The zero value is none.
type Seen struct {
	Origin string
	Size   int64
	Root   Hash
}

// BatchID names a batch. An agent that signs two batches with one BatchID has
// lied, and both are the proof.
type BatchID struct {
	Epoch Epoch  `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// Batch is what an agent signs about a run of records: the text of a batch
// note, which is a leaf of the collector's log.
type Batch struct {
	Cluster string // [A-Za-z0-9_-]+
	Agent   string // [A-Za-z0-9_-]+
	BatchID
	PrevEpoch  Epoch  // the agent's epoch before; none for its first
	Reason     Reason // why this epoch began
	Prev       Hash   // NoteHash of the agent's batch note before, also across epochs; zero for its first
	First      uint64 // number of the first record
	Count      uint64 // records; 0 is a heartbeat
	Root       Hash   // Root over the records' leaves
	Payload    Hash   // SHA-256 of the payload as it was sent
	PayloadLen int64
	From, To   int64 // ms since 1970, wall clock, of the first and the last record; of the note when there are none
	Clock      Clock
	Drops      uint64 // records that were lost before this batch; their numbers are missing
	Seen       Seen
	Seal       bool // the agent's last note before a clean stop
}

// Text returns the note's text: title, then one line per item, in this order.
// docs/audit-format.md has the grammar.
func (b *Batch) Text() []byte {
	var t []byte
	t = append(t, batchTitle+"\n"...)
	t = fmt.Appendf(t, "%s/%s\n", b.Cluster, b.Agent)
	t = fmt.Appendf(t, "epoch %s %s %s\n", b.Epoch, b.PrevEpoch, b.Reason)
	t = fmt.Appendf(t, "seq %d\n", b.Seq)
	t = fmt.Appendf(t, "prev %s\n", b.Prev)
	t = fmt.Appendf(t, "records %d %d\n", b.First, b.Count)
	t = fmt.Appendf(t, "root %s\n", b.Root)
	t = fmt.Appendf(t, "payload %s %d\n", b.Payload, b.PayloadLen)
	t = fmt.Appendf(t, "time %d %d %s\n", b.From, b.To, b.Clock)
	t = fmt.Appendf(t, "drops %d\n", b.Drops)
	origin := b.Seen.Origin
	if origin == "" {
		origin = "-"
	}
	t = fmt.Appendf(t, "seen %s %d %s\n", origin, b.Seen.Size, b.Seen.Root)
	if b.Seal {
		return append(t, "flags seal\n"...)
	}
	return append(t, "flags open\n"...)
}

// NoteHash returns SHA-256 over a whole signed note: what the agent's next note
// names as Prev.
func NoteHash(signed []byte) Hash { return sha256.Sum256(signed) }

// ParseBatch reads the text of a batch note. There is one text for each batch:
// whatever Text would not have written is an error.
func ParseBatch(text []byte) (Batch, error) {
	if len(text) > MaxNote {
		return Batch{}, errors.New("parse batch: too long")
	}
	p := batchParser{lines: strings.Split(string(text), "\n")}
	var b Batch
	p.want(batchTitle, p.line(""))
	b.Cluster, b.Agent, _ = strings.Cut(p.line(""), "/")
	epoch := p.words("epoch", 3)
	b.Epoch, b.PrevEpoch, b.Reason = p.epoch(epoch[0]), p.epoch(epoch[1]), Reason(epoch[2])
	b.Seq = p.number(p.words("seq", 1)[0])
	b.Prev = p.hash(p.words("prev", 1)[0])
	records := p.words("records", 2)
	b.First, b.Count = p.number(records[0]), p.number(records[1])
	b.Root = p.hash(p.words("root", 1)[0])
	payload := p.words("payload", 2)
	b.Payload, b.PayloadLen = p.hash(payload[0]), p.signed(payload[1])
	span := p.words("time", 3)
	b.From, b.To, b.Clock = p.signed(span[0]), p.signed(span[1]), Clock(span[2])
	b.Drops = p.number(p.words("drops", 1)[0])
	seen := p.words("seen", 3)
	b.Seen = Seen{Origin: seen[0], Size: p.signed(seen[1]), Root: p.hash(seen[2])}
	if b.Seen.Origin == "-" {
		b.Seen.Origin = ""
	}
	b.Seal = p.words("flags", 1)[0] == "seal"
	if p.err != nil {
		return Batch{}, fmt.Errorf("parse batch: %w", p.err)
	}
	if err := b.check(); err != nil {
		return Batch{}, fmt.Errorf("parse batch: %w", err)
	}
	if string(b.Text()) != string(text) {
		return Batch{}, errors.New("parse batch: not in its one form")
	}
	return b, nil
}

// check reports what no agent writes.
func (b *Batch) check() error {
	switch {
	case !ValidName(b.Cluster) || !ValidName(b.Agent):
		return errors.New("cluster and agent must be letters, digits, _ and -")
	case b.Epoch == Epoch{}:
		return errors.New("no epoch")
	case b.Reason != Boot && b.Reason != Recover:
		return errors.New("unknown reason")
	case b.Clock != Synced && b.Clock != Unsynced:
		return errors.New("unknown state of the clock")
	case b.Count > MaxRecords:
		return errors.New("more records than a payload can hold")
	case b.First+b.Count < b.First:
		return errors.New("record numbers overflow")
	case b.PayloadLen < 0 || b.PayloadLen > MaxPayload || b.Seen.Size < 0:
		return errors.New("a size is out of range")
	}
	return nil
}

// ValidName reports whether s can name an agent or a cluster: 1 to 64 of
// [A-Za-z0-9_-]. Such a name is one token of a bus subject and one word of a
// note.
func ValidName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// batchParser reads line by line and keeps the first error.
type batchParser struct {
	lines []string
	err   error
}

func (p *batchParser) fail(what string) {
	if p.err == nil {
		p.err = errors.New(what)
	}
}

// line returns the next line without its keyword.
func (p *batchParser) line(keyword string) string {
	if len(p.lines) == 0 {
		p.fail("too few lines")
		return ""
	}
	line := p.lines[0]
	p.lines = p.lines[1:]
	if keyword == "" {
		return line
	}
	rest, ok := strings.CutPrefix(line, keyword+" ")
	if !ok {
		p.fail("no line " + keyword)
	}
	return rest
}

// words returns exactly n words of the line of keyword, empty ones on error.
func (p *batchParser) words(keyword string, n int) []string {
	words := strings.Split(p.line(keyword), " ")
	if len(words) != n {
		p.fail("line " + keyword + ": wrong number of words")
		return make([]string, n)
	}
	return words
}

func (p *batchParser) want(want, got string) {
	if got != want {
		p.fail("not a " + want)
	}
}

func (p *batchParser) epoch(s string) Epoch {
	e, err := ParseEpoch(s)
	if err != nil {
		p.fail("bad epoch")
	}
	return e
}

func (p *batchParser) hash(s string) Hash {
	h, err := ParseHash(s)
	if err != nil {
		p.fail("bad hash")
	}
	return h
}

func (p *batchParser) number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		p.fail("bad number")
	}
	return n
}

func (p *batchParser) signed(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		p.fail("bad number")
	}
	return n
}
