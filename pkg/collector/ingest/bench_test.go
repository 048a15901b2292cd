package ingest_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/ingest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

const origin = "log.example/audit/test"

// bench is an Ingest over a real store, with the receipts that it sent.
type bench struct {
	t      *testing.T
	dir    string
	vkey   string
	signer *translog.Signer
	store  *store.Store
	ingest *ingest.Ingest
	keys   map[string]*translog.Verifier

	mu       sync.Mutex
	receipts map[string][][]byte // guarded by mu
}

func newBench(t *testing.T, agents ...*collectortest.Agent) *bench {
	t.Helper()
	skey, vkey, err := translog.GenerateKey(origin)
	check(t, err)
	signer, err := translog.NewSigner(skey)
	check(t, err)
	b := &bench{
		t: t, dir: t.TempDir(), vkey: vkey, signer: signer,
		keys: map[string]*translog.Verifier{}, receipts: map[string][][]byte{},
	}
	for _, a := range agents {
		b.keys[a.Name] = a.Verifier()
	}
	b.open()
	t.Cleanup(b.close)
	return b
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	b.store, err = store.Open(b.t.Context(), b.dir, b.vkey, b.signer)
	check(b.t, err)
	b.ingest = ingest.New(ingest.Config{
		Store: b.store, Cluster: collectortest.Cluster, Origin: origin, Log: zaptest.NewLogger(b.t),
		Key: func(agent string) *translog.Verifier { return b.keys[agent] },
		Send: func(agent string, receipt []byte) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.receipts[agent] = append(b.receipts[agent], receipt)
			return nil
		},
	})
}

func (b *bench) close() {
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

// restart is what a crash and a new start look like to the store.
func (b *bench) restart() {
	b.t.Helper()
	b.close()
	b.open()
}

func (b *bench) handle(messages ...bus.BatchMessage) {
	b.t.Helper()
	check(b.t, b.ingest.Handle(b.t.Context(), messages))
}

func (b *bench) size() int64 {
	b.t.Helper()
	size, err := b.store.Size(b.t.Context())
	check(b.t, err)
	return size
}

// findings returns the codes of all findings, newest first.
func (b *bench) findings() []string {
	b.t.Helper()
	all, err := b.store.Findings(b.t.Context(), 0)
	check(b.t, err)
	codes := []string{}
	for _, f := range all {
		codes = append(codes, f.Code)
	}
	return codes
}

func (b *bench) quarantined(agent string) []string {
	b.t.Helper()
	reasons, err := b.store.Quarantined(b.t.Context(), agent)
	check(b.t, err)
	return reasons
}

// accept verifies the newest receipt of an agent as that agent would.
func (b *bench) accept(agent string, seen translog.Checkpoint, notes ...bus.BatchMessage) translog.Acceptance {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.receipts[agent]) == 0 {
		b.t.Fatalf("%s got no receipt", agent)
	}
	newest := b.receipts[agent][len(b.receipts[agent])-1]
	accepted, err := translog.AcceptReceipt(newest, b.key(), seen, leaves(b.t, notes))
	check(b.t, err)
	return accepted
}

func (b *bench) key() *translog.Verifier {
	b.t.Helper()
	key, err := translog.NewVerifier(b.vkey)
	check(b.t, err)
	return key
}

func leaves(t *testing.T, notes []bus.BatchMessage) func(record.BatchID) (translog.Hash, bool) {
	t.Helper()
	byID := map[record.BatchID]translog.Hash{}
	for _, n := range notes {
		batch, err := translog.PeekBatch(n.Note)
		check(t, err)
		byID[batch.BatchID] = translog.LeafHash(n.Note)
	}
	return func(id record.BatchID) (translog.Hash, bool) {
		h, ok := byID[id]
		return h, ok
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("not within 10 s")
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	node := collectortest.NewAgent(b, "node-1")
	skey, vkey, err := translog.GenerateKey(origin)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := translog.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(b.Context(), b.TempDir(), vkey, signer)
	if err != nil {
		b.Fatal(err)
	}
	in := ingest.New(ingest.Config{
		Store: db, Cluster: collectortest.Cluster, Origin: origin, Log: zaptest.NewLogger(b),
		Key:  func(string) *translog.Verifier { return node.Verifier() },
		Send: func(string, []byte) error { return nil },
	})
	const group, perBatch = 16, 300
	count := 0
	for b.Loop() {
		b.StopTimer()
		var messages []bus.BatchMessage
		for range group {
			s := collectortest.NewSession(time.Now())
			all := []collectortest.Record{s.Opened()}
			for len(all) < perBatch {
				all = append(all, s.Query("SELECT abalance FROM pgbench_accounts WHERE aid = 42", "abalance", "0")...)
			}
			messages = append(messages, node.Batch(all...))
			count += len(all)
		}
		b.StartTimer()
		if err := in.Handle(b.Context(), messages); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "records/s")
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}
