package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// maxNumber bounds the numbers of a batch: SQL integers have 63 bits, and no
// agent gets near.
const maxNumber = 1 << 60

// verified is the batch of a message, or why it is not believed.
type verified struct {
	batch store.Batch
	err   error
}

// verifyAll verifies a group on all processors, so that the store has nothing
// left to compute while nobody else can write.
func (in *Ingest) verifyAll(messages []bus.BatchMessage) []verified {
	all := make([]verified, len(messages))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(len(messages), runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(messages)); i = next.Add(1) - 1 {
				all[i].batch, all[i].err = in.verify(&messages[i])
				all[i].batch.Read()
			}
		})
	}
	workers.Wait()
	return all
}

// verify returns the batch of a message, or why it is not believed.
func (in *Ingest) verify(m *bus.BatchMessage) (store.Batch, error) {
	if m.Note == nil {
		return store.Batch{}, errors.New("the message holds no note")
	}
	key := in.cfg.Key(m.Agent)
	if key == nil {
		return store.Batch{}, errors.New("no such agent is enrolled")
	}
	batch, err := translog.OpenBatch(m.Note, key)
	if err != nil {
		return store.Batch{}, err
	}
	switch {
	case batch.Cluster != in.cfg.Cluster || batch.Agent != m.Agent:
		return store.Batch{}, errors.New("the note is another agent's")
	case batch.Seq > maxNumber || batch.First > maxNumber || batch.Drops > maxNumber:
		return store.Batch{}, errors.New("a number is out of range")
	case batch.PayloadLen != int64(len(m.Payload)) || batch.Payload != sha256.Sum256(m.Payload):
		return store.Batch{}, errors.New("the payload is not the one that was signed")
	}
	entries, err := record.Unpack(m.Payload)
	if err != nil {
		return store.Batch{}, err
	}
	if err := checkEntries(&batch, entries); err != nil {
		return store.Batch{}, err
	}
	return store.Batch{Batch: batch, Note: m.Note, Payload: m.Payload, Entries: entries}, nil
}

// checkEntries reports whether the entries are those that the note signs.
func checkEntries(b *record.Batch, entries []record.Entry) error {
	if uint64(len(entries)) != b.Count {
		return fmt.Errorf("%d records where the note says %d", len(entries), b.Count)
	}
	leaves := make([]record.Hash, len(entries))
	for i := range entries {
		if entries[i].No != b.First+uint64(i) {
			return fmt.Errorf("record %d stands at the place of record %d", entries[i].No, b.First+uint64(i))
		}
		leaves[i] = entries[i].Leaf()
	}
	if record.Root(leaves) != b.Root {
		return errors.New("the records do not give the root that was signed")
	}
	return nil
}

// checkSeen compares the checkpoint that an agent says it has verified with
// our log. If they disagree, our log was rolled back or the agent lies: both
// are for a person to look at, and the batch is kept as evidence.
func (in *Ingest) checkSeen(ctx context.Context, b *store.Batch) error {
	if b.Seen.Size == 0 {
		return nil
	}
	size, _, err := in.cfg.Store.Checkpoint(ctx)
	if err != nil {
		return err
	}
	detail := ""
	switch {
	case b.Seen.Origin != in.cfg.Origin:
		detail = "the agent has seen another log"
	case b.Seen.Size > size:
		detail = fmt.Sprintf("the agent has seen a log of %d leaves, and this one has %d", b.Seen.Size, size)
	default:
		root, err := translog.Root(b.Seen.Size, in.cfg.Store.KnownHashes(ctx))
		if err != nil {
			return err
		}
		if root != translog.Hash(b.Seen.Root) {
			detail = fmt.Sprintf("the agent has seen another root of %d leaves", b.Seen.Size)
		}
	}
	if detail == "" {
		return nil
	}
	in.cfg.Log.Error("The log is not the one that an agent has seen: it was rolled back, or the agent lies")
	return in.cfg.Store.Finding(ctx, view.Finding{
		At: time.Now(), Agent: b.Agent, Epoch: b.Epoch.String(), Seq: b.Seq, Code: store.LogForked, Detail: detail,
	})
}
