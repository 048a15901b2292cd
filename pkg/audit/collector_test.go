package audit_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

const (
	cluster = "c1"
	agent   = "node-1"
	origin  = "log.example/audit/c1"
)

// keys are made once per test.
type keys struct {
	agent    *translog.Signer
	agentPub string
	log      *translog.Signer
	logPub   string
}

func newKeys(t testing.TB) keys {
	t.Helper()
	var k keys
	skey, vkey, err := translog.GenerateKey(translog.AgentKeyName(cluster, agent))
	must(t, err)
	k.agentPub = vkey
	k.agent, err = translog.NewSigner(skey)
	must(t, err)
	skey, vkey, err = translog.GenerateKey(origin)
	must(t, err)
	k.logPub = vkey
	k.log, err = translog.NewSigner(skey)
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// collector is a small collector in memory: it verifies, appends and proves as
// the real one must, and can be told to misbehave.
type collector struct {
	keys     keys
	verifier *translog.Verifier
	deliver  func([]byte)

	mu           sync.Mutex
	away         bool // nothing arrives
	deaf         bool // batches are lost after the bus took them
	mute         bool // receipts are lost
	hashes       []translog.Hash
	size, told   int64
	stored       []translog.StoredBatch
	index        map[record.BatchID]int64
	publications int
	changed      chan struct{}
}

func newCollector(t *testing.T, k keys) *collector {
	t.Helper()
	c := &collector{keys: k, index: map[record.BatchID]int64{}, changed: make(chan struct{}, 1), deliver: func([]byte) {}}
	var err error
	c.verifier, err = translog.NewVerifier(k.agentPub)
	must(t, err)
	return c
}

func (c *collector) ReadHashes(indexes []int64) ([]translog.Hash, error) {
	var hashes []translog.Hash
	for _, i := range indexes {
		hashes = append(hashes, c.hashes[i])
	}
	return hashes, nil
}

func (c *collector) WriteHashes(first int64, hashes []translog.Hash) error {
	if first != int64(len(c.hashes)) {
		return errors.New("not at the end")
	}
	c.hashes = append(c.hashes, hashes...)
	return nil
}

func (c *collector) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *collector) Publish(_ context.Context, note, payload []byte) error {
	c.mu.Lock()
	c.publications++
	if c.away {
		c.mu.Unlock()
		return errors.New("the bus is away")
	}
	if c.deaf {
		c.mu.Unlock()
		return nil
	}
	receipt, err := c.ingest(note, payload)
	mute := c.mute
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
	if err == nil && !mute {
		go c.deliver(receipt)
	}
	return nil
}

// ingest verifies and appends a batch. c.mu is held.
func (c *collector) ingest(note, payload []byte) ([]byte, error) {
	b, err := translog.OpenBatch(note, c.verifier)
	if err != nil {
		return nil, err
	}
	if _, ok := c.index[b.BatchID]; !ok {
		entries, err := record.Unpack(payload)
		if err != nil {
			return nil, err
		}
		s := translog.StoredBatch{Index: c.size, Note: slices.Clone(note)}
		s.Entries = append(s.Entries, entries...)
		if c.size, err = translog.Append(c.size, [][]byte{note}, c); err != nil {
			return nil, err
		}
		c.index[b.BatchID] = s.Index
		c.stored = append(c.stored, s)
	}
	from := c.told
	c.told = c.size
	return c.receipt(from, []record.BatchID{b.BatchID})
}

// receipt proves batches. c.mu is held.
func (c *collector) receipt(from int64, ids []record.BatchID) ([]byte, error) {
	root, err := translog.Root(c.size, c)
	if err != nil {
		return nil, err
	}
	signed, err := translog.SignCheckpoint(c.size, root, c.keys.log)
	if err != nil {
		return nil, err
	}
	r := translog.Receipt{Checkpoint: string(signed), From: from, Batches: []translog.Included{}}
	if from <= c.size {
		if r.Consistency, err = translog.ProveConsistency(from, c.size, c); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		index, ok := c.index[id]
		if !ok {
			continue
		}
		proof, err := translog.ProveInclusion(c.size, index, c)
		if err != nil {
			return nil, err
		}
		r.Batches = append(r.Batches, translog.Included{BatchID: id, Index: index, Proof: proof})
	}
	return translog.EncodeReceipt(&r)
}

func (c *collector) Sync(_ context.Context, request []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil, errors.New("the bus is away")
	}
	r, err := translog.DecodeSyncRequest(request)
	if err != nil {
		return nil, err
	}
	c.told = c.size
	return c.receipt(r.Seen, r.Pending)
}

// export returns the bundle of a scope as a file system.
func (c *collector) export(t *testing.T, scope translog.Scope) fstest.MapFS {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	root, err := translog.Root(c.size, c)
	must(t, err)
	signed, err := translog.SignCheckpoint(c.size, root, c.keys.log)
	must(t, err)
	files := fstest.MapFS{}
	must(t, translog.WriteBundle(translog.Export{
		Scope: scope, Exported: time.Now(), Checkpoint: signed, Size: c.size, Hashes: c,
		Batches: func(yield func(translog.StoredBatch, error) bool) {
			for _, b := range c.stored {
				if !yield(b, nil) {
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

// verify checks an export with the pinned keys.
func (c *collector) verify(t *testing.T, scope translog.Scope) translog.Report {
	t.Helper()
	report, err := translog.Verify(c.export(t, scope), translog.Trust{Log: c.keys.logPub, Agents: []string{c.keys.agentPub}})
	must(t, err)
	return report
}

// headers returns the headers of every record that arrived, in the log's order.
func (c *collector) headers(t *testing.T) []record.Header {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var headers []record.Header
	for _, b := range c.stored {
		for _, e := range b.Entries {
			h, err := record.DecodeHeader(e.Header)
			must(t, err)
			headers = append(headers, h)
		}
	}
	return headers
}
