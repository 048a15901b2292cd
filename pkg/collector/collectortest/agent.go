// Package collectortest makes what an agent sends, for tests of the
// collector: signed batch notes, payloads and the records of plausible
// sessions. It signs with real keys; only the agent behind them is missing.
package collectortest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Cluster is the cluster of every agent made here.
const Cluster = "test"

// Agent signs batches like a node agent. It is not safe for concurrent use.
type Agent struct {
	Name string
	VKey string // public
	Seen record.Seen

	t      testing.TB
	signer *translog.Signer
	packer record.Packer
	salter *record.Salter
	epoch  record.Epoch
	before record.Epoch
	reason record.Reason
	seq    uint64
	no     uint64
	prev   record.Hash
}

// NewAgent returns an agent with a fresh key, at the start of its first epoch.
func NewAgent(t testing.TB, name string) *Agent {
	t.Helper()
	skey, vkey, err := translog.GenerateKey(translog.AgentKeyName(Cluster, name))
	must(t, err)
	return WithKey(t, name, skey, vkey)
}

// WithKey returns an agent that has its key already, such as an enrolled one.
func WithKey(t testing.TB, name, skey, vkey string) *Agent {
	t.Helper()
	signer, err := translog.NewSigner(skey)
	must(t, err)
	a := &Agent{Name: name, VKey: vkey, t: t, signer: signer}
	a.Restart(record.Boot)
	return a
}

// Verifier returns the agent's public key.
func (a *Agent) Verifier() *translog.Verifier {
	a.t.Helper()
	key, err := translog.NewVerifier(a.VKey)
	must(a.t, err)
	return key
}

// Restart begins a new epoch, linked to the one before.
func (a *Agent) Restart(reason record.Reason) {
	a.before, a.reason = a.epoch, reason
	_, _ = rand.Read(a.epoch[:]) // never fails
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	a.salter = record.NewSalter(secret)
	a.seq, a.no = 0, 0
}

// ForgetChain makes the next epoch an unlinked one, as after loss of the
// spool.
func (a *Agent) ForgetChain() {
	a.epoch, a.prev = record.Epoch{}, record.Hash{}
}

// Batch signs the next batch, of these records. It sets their numbers.
func (a *Agent) Batch(records ...Record) bus.BatchMessage {
	a.t.Helper()
	return a.Signed(func(*record.Batch) {}, records...)
}

// Signed is Batch with a change to the note before it is signed.
func (a *Agent) Signed(change func(*record.Batch), records ...Record) bus.BatchMessage {
	a.t.Helper()
	entries := make([]record.Entry, len(records))
	leaves := make([]record.Hash, len(records))
	for i := range records {
		entries[i] = a.entry(&records[i], a.no+uint64(i))
		leaves[i] = entries[i].Leaf()
	}
	var payload []byte
	if len(entries) > 0 {
		var err error
		payload, err = a.packer.Pack(entries)
		must(a.t, err)
		payload = bytes.Clone(payload) // the caller's
	}
	now := time.Now().UnixMilli()
	b := record.Batch{
		Cluster: Cluster, Agent: a.Name, BatchID: record.BatchID{Epoch: a.epoch, Seq: a.seq},
		PrevEpoch: a.before, Reason: a.reason, Prev: a.prev, First: a.no, Count: uint64(len(entries)),
		Root: record.Root(leaves), Payload: sha256.Sum256(payload), PayloadLen: int64(len(payload)),
		From: now, To: now, Clock: record.Synced, Seen: a.Seen,
	}
	change(&b)
	note, err := translog.SignBatch(&b, a.signer)
	must(a.t, err)
	a.seq, a.no, a.prev = b.Seq+1, b.First+b.Count, record.NoteHash(note)
	return bus.BatchMessage{Agent: a.Name, Note: note, Payload: payload}
}

// Fork returns an agent with the same key and the same past: what either signs
// next takes the same place in the chain.
func (a *Agent) Fork() *Agent {
	twin := *a
	return &twin
}

func (a *Agent) entry(r *Record, no uint64) record.Entry {
	a.t.Helper()
	r.Header.No = no
	header, err := record.AppendHeader(nil, &r.Header)
	must(a.t, err)
	var body []byte
	if r.Body != nil {
		body, err = record.AppendBody(nil, r.Body)
		must(a.t, err)
	}
	if r.Damage != nil {
		header, body = r.Damage(header, body)
	}
	return record.Entry{No: no, Header: header, Body: body, Salt: a.salter.Salt(no)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
