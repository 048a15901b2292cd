package translog_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/translog"
)

const (
	origin   = "log.example/audit/c1"
	session1 = "sess1"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree is a log's nodes in memory.
type tree struct{ hashes []translog.Hash }

func (m *tree) ReadHashes(indexes []int64) ([]translog.Hash, error) {
	hashes := make([]translog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(m.hashes)) {
			return nil, errors.New("outside the tree")
		}
		hashes[i] = m.hashes[index]
	}
	return hashes, nil
}

func (m *tree) WriteHashes(first int64, hashes []translog.Hash) error {
	if first != int64(len(m.hashes)) {
		return errors.New("not at the end")
	}
	m.hashes = append(m.hashes, hashes...)
	return nil
}

// signer is a key pair.
type signer struct {
	*translog.Signer
	public   string
	verifier *translog.Verifier
}

func newSigner(t testing.TB, name string) signer {
	t.Helper()
	skey, vkey, err := translog.GenerateKey(name)
	must(t, err)
	s, err := translog.NewSigner(skey)
	must(t, err)
	v, err := translog.NewVerifier(vkey)
	must(t, err)
	return signer{s, vkey, v}
}

// agentChain signs batches as an agent does.
type agentChain struct {
	signer
	name    string
	next    record.Batch // what the next batch continues
	records uint64
	packer  record.Packer
	salter  *record.Salter
}

func newAgent(t testing.TB, name string) *agentChain {
	t.Helper()
	a := &agentChain{signer: newSigner(t, "c1/"+name), name: name, salter: record.NewSalter([32]byte{1})}
	a.next = record.Batch{Cluster: "c1", Agent: name, Reason: record.Boot, Clock: record.Synced}
	a.next.Epoch = record.Epoch{1}
	return a
}

// batch signs the next batch of headers and bodies and moves the chain on.
// change may alter it first.
func (a *agentChain) batch(t testing.TB, change func(*record.Batch), headers ...record.Header) translog.StoredBatch {
	t.Helper()
	b := a.next
	var stored translog.StoredBatch
	var entries []record.Entry
	var leaves []record.Hash
	for i := range headers {
		h := headers[i]
		h.No, h.Time = a.records, time.UnixMilli(1_700_000_000_000)
		header, err := record.AppendHeader(nil, &h)
		must(t, err)
		body, err := record.AppendBody(nil, &record.Body{Text: fmt.Sprintf("statement %d", h.No)})
		must(t, err)
		e := record.Entry{No: h.No, Header: header, Body: body, Salt: a.salter.Salt(h.No)}
		entries, leaves = append(entries, e), append(leaves, e.Leaf())
		stored.Entries = append(stored.Entries, e)
		a.records++
	}
	payload, err := a.packer.Pack(entries)
	must(t, err)
	b.First, b.Count, b.Root = a.records-uint64(len(headers)), uint64(len(headers)), record.Root(leaves)
	b.Payload, b.PayloadLen = sha256.Sum256(payload), int64(len(payload))
	b.From, b.To = 1_700_000_000_000, 1_700_000_000_000
	if change != nil {
		change(&b)
	}
	stored.Note, err = translog.SignBatch(&b, a.Signer)
	must(t, err)
	a.next.Seq, a.next.Prev = b.Seq+1, record.NoteHash(stored.Note)
	return stored
}

// epoch moves the chain to a new epoch.
func (a *agentChain) epoch(reason record.Reason) {
	a.next.PrevEpoch, a.next.Reason, a.next.Seq = a.next.Epoch, reason, 0
	a.next.Epoch[0]++
	a.records = 0
}

func seal(b *record.Batch) { b.Seal = true }

func opened(id string) record.Header {
	return record.Header{Type: record.SessionOpened, Session: id, Opened: &session.Session{ID: id}}
}

func intent(id string) record.Header {
	return record.Header{Type: record.OperationIntent, Session: id, Operation: 1, Intent: &record.Intent{Effect: "allow"}}
}

func closed(id string, records uint64) record.Header {
	return record.Header{Type: record.SessionClosed, Session: id, Closed: &record.Closed{Records: records}}
}

// world is a log with the batches of two agents, before anybody tampers.
type world struct {
	log     signer
	one     *agentChain
	two     *agentChain
	batches []translog.StoredBatch
	nodes   tree
	scope   translog.Scope
	at      time.Time
	twoKey  string   // agent two's first
	more    []string // further keys that are trusted

	cosigned     []byte // of witnesses
	cosignedSize int64
}

// newWorld holds session sess1 in the batches 0, 1 and 3 of agent one, and a
// second agent in leaf 2; agent one restarts and seals.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{log: newSigner(t, origin), one: newAgent(t, "one"), two: newAgent(t, "two"), scope: translog.Scope{Kind: translog.WholeLog}}
	w.at, w.twoKey = time.UnixMilli(1_700_000_000_000), w.two.public
	w.add(w.one.batch(t, nil, opened(session1), intent(session1), opened("other")))
	w.add(w.one.batch(t, nil, intent("other"), intent(session1)))
	w.add(w.two.batch(t, nil, opened("foreign"), closed("foreign", 2)))
	w.add(w.one.batch(t, w.seen(t), closed(session1, 4)))
	w.add(w.one.batch(t, nil))
	w.one.epoch(record.Recover)
	w.add(w.one.batch(t, nil, opened("late"), closed("late", 2)))
	w.add(w.one.batch(t, seal))
	w.add(w.two.batch(t, seal))
	return w
}

func (w *world) add(b translog.StoredBatch) {
	b.Index = int64(len(w.batches))
	w.batches = append(w.batches, b)
	if _, err := translog.Append(b.Index, [][]byte{b.Note}, &w.nodes); err != nil {
		panic(err)
	}
}

// seen returns a change that states the log's present checkpoint.
func (w *world) seen(t testing.TB) func(*record.Batch) {
	t.Helper()
	root, err := translog.Root(int64(len(w.batches)), &w.nodes)
	must(t, err)
	size := int64(len(w.batches))
	return func(b *record.Batch) { b.Seen = record.Seen{Origin: origin, Size: size, Root: record.Hash(root)} }
}

func (w *world) trust() translog.Trust {
	return translog.Trust{Log: w.log.public, Agents: append([]string{w.one.public, w.twoKey}, w.more...)}
}

func (w *world) checkpoint(t testing.TB) []byte {
	t.Helper()
	root, err := translog.Root(int64(len(w.batches)), &w.nodes)
	must(t, err)
	signed, err := translog.SignCheckpoint(int64(len(w.batches)), root, w.log.Signer)
	must(t, err)
	return signed
}

// bundle exports the scope of w.
func (w *world) bundle(t testing.TB) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	must(t, translog.WriteBundle(translog.Export{
		Scope: w.scope, Exported: w.at, Checkpoint: w.checkpoint(t), Size: int64(len(w.batches)), Hashes: &w.nodes,
		Cosigned: w.cosigned, CosignedSize: w.cosignedSize,
		Batches: func(yield func(translog.StoredBatch, error) bool) {
			for _, b := range w.batches {
				if w.inScope(&b) && !yield(b, nil) {
					return
				}
			}
		},
	}, func(name string, data []byte) error {
		files[name] = &fstest.MapFile{Data: slices.Clone(data), Mode: 0o600}
		return nil
	}))
	return files
}

func (w *world) inScope(b *translog.StoredBatch) bool {
	switch w.scope.Kind {
	case translog.Range:
		return b.Index >= w.scope.First
	case translog.OneSession:
		return translog.IsShredding(b.Note) || slices.ContainsFunc(b.Entries, func(e record.Entry) bool {
			h, err := record.DecodeHeader(e.Header)
			return err == nil && h.Session == w.scope.Session
		})
	}
	return true
}

func (w *world) verify(t testing.TB, files fstest.MapFS) translog.Report {
	t.Helper()
	report, err := translog.Verify(files, w.trust())
	must(t, err)
	return report
}
