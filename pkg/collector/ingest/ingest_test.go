package ingest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// records is the records of one whole session.
func records() []collectortest.Record {
	s := collectortest.NewSession(time.Now())
	all := []collectortest.Record{s.Opened()}
	all = append(all, s.Query("SELECT name FROM customers", "name", "Ada")...)
	return append(all, s.Closed())
}

func TestBatchIsStoredLoggedAndReceipted(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	first, second := node.Batch(records()...), node.Batch()
	b.handle(first)
	accepted := b.accept("node-1", translog.Checkpoint{}, first)
	equal(t, "batches accepted", len(accepted.Batches), 1)
	b.handle(second)
	accepted = b.accept("node-1", accepted.Checkpoint, first, second)
	equal(t, "size seen", accepted.Checkpoint.Size, 2)
	equal(t, "findings", len(b.findings()), 0)
}

func TestSameBatchAgainKeepsItsPlaceAndIsReceiptedAgain(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	m := node.Batch(records()...)
	b.handle(m, m)
	b.restart()
	b.handle(m)
	equal(t, "leaves", b.size(), 1)
	equal(t, "batches accepted", len(b.accept("node-1", translog.Checkpoint{}, m).Batches), 1)
	sessions, err := b.store.Sessions(t.Context(), store.Filter{Sees: view.Everything()})
	check(t, err)
	equal(t, "sessions", len(sessions), 1)
	equal(t, "operations", sessions[0].Operations, uint64(1))
}

func TestTwoNotesForOnePlaceAreEquivocation(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	twin := node.Fork()
	b.handle(node.Batch(records()...))
	b.handle(twin.Batch(records()...))
	equal(t, "leaves", b.size(), 1)
	equal(t, "findings", strings.Join(b.findings(), " "), store.Equivocation)
	equal(t, "quarantined", strings.Join(b.quarantined("node-1"), " "), store.Equivocation)
}

func TestEquivocationIsSeenAmongParkedBatches(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	node.Batch() // never arrives
	twin := node.Fork()
	b.handle(node.Batch(records()...), twin.Batch(records()...))
	equal(t, "findings", strings.Join(b.findings(), " "), store.Equivocation)
}

func TestMessagesThatAreNotBelievedGoToQuarantineAndBlockNothing(t *testing.T) {
	node, stranger := collectortest.NewAgent(t, "node-1"), collectortest.NewAgent(t, "stranger")
	other := collectortest.NewAgent(t, "node-2")
	b := newBench(t, node, other)
	good := node.Batch(records()...)
	flipped := good
	flipped.Payload = append([]byte{}, good.Payload...)
	flipped.Payload[len(flipped.Payload)/2] ^= 1
	impostor := good
	impostor.Agent = "node-2"
	forged := good
	forged.Note = append([]byte{}, good.Note...)
	forged.Note[len(forged.Note)-5] ^= 1
	wrongRoot := node.Fork().Signed(func(b *record.Batch) { b.Root = record.Hash{} }, records()...)
	huge := node.Fork().Signed(func(b *record.Batch) { b.Seq = 1 << 63 })

	b.handle(
		bus.BatchMessage{Agent: "node-1", Raw: []byte("\x00")},
		stranger.Batch(records()...), flipped, impostor, forged, wrongRoot, huge, good,
	)
	equal(t, "leaves", b.size(), 1)
	equal(t, "quarantined of node-1", len(b.quarantined("node-1")), 5)
	equal(t, "quarantined of node-2", len(b.quarantined("node-2")), 1)
	equal(t, "quarantined of stranger", len(b.quarantined("stranger")), 1)
}

func TestBatchThatComesEarlyWaitsForTheOneBeforeIt(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	first, second, third := node.Batch(records()...), node.Batch(records()...), node.Batch()
	b.handle(third)
	b.handle(second)
	equal(t, "leaves while the first is missing", b.size(), 0)
	b.restart()
	b.handle(first)
	equal(t, "leaves", b.size(), 3)
	equal(t, "batches accepted", len(b.accept("node-1", translog.Checkpoint{}, first, second, third).Batches), 3)
	equal(t, "findings", len(b.findings()), 0)
}

func TestGapIsAcceptedInTheEndWithAFinding(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	b.handle(node.Batch())
	lost := node.Batch(records()...)
	after := node.Batch(records()...)
	b.handle(after)
	equal(t, "leaves before patience ends", b.size(), 1)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.ingest.Release(ctx, 20*time.Millisecond) }()
	await(t, func() bool { return b.size() == 2 })
	stop()
	check(t, <-done)
	equal(t, "findings", strings.Join(b.findings(), " "), store.Gap)

	b.handle(lost)
	equal(t, "leaves when the lost one comes late", b.size(), 3)
	b.handle(node.Batch())
	equal(t, "leaves when the chain goes on", b.size(), 4)
}

func TestNewEpochFollowsTheOldOne(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	s := collectortest.NewSession(time.Now())
	b.handle(node.Batch(s.Opened()))
	node.Restart(record.Recover)
	b.handle(node.Batch())
	equal(t, "findings", len(b.findings()), 0)
	session, err := b.store.Session(t.Context(), view.Everything(), s.ID)
	check(t, err)
	if session.Ended == nil || session.Reason != "agent lost" {
		t.Errorf("session of a dead epoch: ended %v, reason %q", session.Ended, session.Reason)
	}
}

func TestEpochOfALostSpoolIsAFinding(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	b.handle(node.Batch())
	node.ForgetChain()
	node.Restart(record.Recover)
	b.handle(node.Batch())
	equal(t, "leaves", b.size(), 2)
	equal(t, "findings", strings.Join(b.findings(), " "), store.UnlinkedEpoch)
}

func TestLossIsAFindingWhetherStatedOrNot(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	b.handle(node.Batch(records()...))
	b.handle(node.Signed(func(b *record.Batch) { b.First, b.Drops = b.First+3, 3 }))
	equal(t, "findings of a stated loss", strings.Join(b.findings(), " "), store.DropsStated)
	b.handle(node.Signed(func(b *record.Batch) { b.First += 3 }))
	equal(t, "findings", strings.Join(b.findings(), " "), store.RecordsMissing+" "+store.DropsStated)
	equal(t, "leaves", b.size(), 3)
}

func TestAgentThatHasSeenAnotherLogIsAFinding(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	node.Seen = record.Seen{Origin: origin, Size: 7}
	b.handle(node.Batch())
	equal(t, "leaves", b.size(), 1)
	equal(t, "findings", strings.Join(b.findings(), " "), store.LogForked)
}

// What an agent has a receipt for it has freed: it will not come again.
func TestRolledBackLogDoesNotWaitForWhatItLost(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	b.handle(node.Batch(records()...))
	lost := node.Batch(records()...)
	node.Seen = record.Seen{Origin: origin, Size: 2}
	b.handle(node.Batch(records()...))
	if size := b.size(); size != 2 {
		t.Errorf("%d leaves, want 2: the batch waits for one that cannot come", size)
	}
	b.handle(lost)
	if size := b.size(); size != 3 {
		t.Errorf("%d leaves, want 3", size)
	}
	for _, code := range []string{store.Gap, store.LogForked} {
		if !slices.Contains(b.findings(), code) {
			t.Errorf("no finding %s among %v", code, b.findings())
		}
	}
}

func TestSyncProvesWhatIsInTheLog(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	first, second := node.Batch(records()...), node.Batch()
	b.handle(first)
	batch, err := translog.PeekBatch(first.Note)
	check(t, err)
	receipt, err := b.ingest.Sync(t.Context(), "node-1",
		[]byte(`{"seen":0,"pending":[{"epoch":"`+batch.Epoch.String()+`","seq":0},{"epoch":"`+batch.Epoch.String()+`","seq":1}]}`))
	check(t, err)
	accepted, err := translog.AcceptReceipt(receipt, b.key(), translog.Checkpoint{}, leaves(t, []bus.BatchMessage{first, second}))
	check(t, err)
	equal(t, "batches accepted", len(accepted.Batches), 1)
	if _, err := b.ingest.Sync(t.Context(), "node-1", []byte("{")); err == nil {
		t.Error("a malformed request was answered")
	}
}

func TestStoreOfAnotherLogIsRefused(t *testing.T) {
	b := newBench(t)
	skey, vkey, err := translog.GenerateKey("log.example/audit/other")
	check(t, err)
	signer, err := translog.NewSigner(skey)
	check(t, err)
	b.close()
	if _, err := store.Open(t.Context(), b.dir, vkey, signer); err == nil {
		t.Error("opened the database of another log")
	}
	b.open()
}
