// Package ingest takes in what agents send: it verifies each batch end to end
// and only then lets the store have it, and it answers with receipts.
//
// The order is: verify (a known agent's key, its signature, the payload's
// hash, the root recomputed from the records), append (log, payload and index
// in one transaction), receipt, acknowledge. A crash between any two steps
// loses nothing: the message, or the agent, comes again, and the same batch
// again has the same place in the log. What cannot be believed goes to the
// quarantine and never blocks what comes after it.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/failpoint"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Config is what an Ingest works with. All fields are required.
type Config struct {
	Store   *store.Store
	Cluster string
	Origin  string // the log's name
	// Key returns the verifier of an enrolled agent, nil for any other.
	Key func(agent string) *translog.Verifier
	// Send hands a receipt to the bus. It may lose it.
	Send func(agent string, receipt []byte) error
	Log  *zap.Logger
}

// Ingest takes batches in. Handle is for one goroutine at a time; Sync and
// Release may be called beside it.
type Ingest struct {
	cfg Config

	mu   sync.Mutex
	sent map[string]int64 // guarded by mu: size of the checkpoint in an agent's newest receipt
}

// New returns an Ingest.
func New(cfg Config) *Ingest { return &Ingest{cfg: cfg, sent: map[string]int64{}} }

// Handle takes in a group of messages. It returns nil when each of them is
// durable, in the log, parked or in quarantine, and may be acknowledged; an
// error means that all must come again.
func (in *Ingest) Handle(ctx context.Context, messages []bus.BatchMessage) error {
	var batches []store.Batch
	seen := map[string]int64{}
	for i, v := range in.verifyAll(messages) {
		if v.err != nil {
			if err := in.quarantine(ctx, &messages[i], v.err); err != nil {
				return err
			}
			continue
		}
		batch := v.batch
		if err := in.checkSeen(ctx, &batch); err != nil {
			return err
		}
		seen[batch.Agent] = max(seen[batch.Agent], batch.Seen.Size)
		batches = append(batches, batch)
	}
	failpoint.Here("ingest.verified")
	done, err := in.append(ctx, batches)
	if err != nil {
		return err
	}
	failpoint.Here("ingest.stored")
	in.report(&done)
	in.receipts(ctx, done.Placed, seen)
	failpoint.Here("ingest.receipts")
	return nil
}

// append stores a group. When that fails it stores one by one, so that a batch
// that the store cannot take does not keep the others out.
func (in *Ingest) append(ctx context.Context, batches []store.Batch) (store.Appended, error) {
	if len(batches) == 0 {
		return store.Appended{}, nil
	}
	done, err := in.cfg.Store.Append(ctx, batches)
	if err == nil || ctx.Err() != nil {
		return done, err
	}
	for i := range batches {
		one, err := in.cfg.Store.Append(ctx, batches[i:i+1])
		if err != nil {
			if err := in.blame(ctx, &batches[i], err); err != nil {
				return store.Appended{}, err
			}
			continue
		}
		done.Placed = append(done.Placed, one.Placed...)
		done.Parked, done.Lied, done.Refused = done.Parked+one.Parked, done.Lied+one.Lied, done.Refused+one.Refused
	}
	return done, nil
}

// blame decides whose fault a failed append is. A store that takes nothing at
// all, such as one on a full disk, is ours: the batch must come again. Else the
// batch goes to the quarantine.
func (in *Ingest) blame(ctx context.Context, b *store.Batch, cause error) error {
	if err := in.cfg.Store.Writable(ctx); err != nil {
		return errors.Join(cause, err)
	}
	in.cfg.Log.Error("A verified batch cannot be stored",
		zap.String("agent", b.Agent), zap.Uint64("seq", b.Seq), zap.Error(cause))
	_, err := in.cfg.Store.Quarantine(ctx, b.Agent, "cannot be stored: "+cause.Error(), b.Note, b.Payload)
	return err
}

func (in *Ingest) quarantine(ctx context.Context, m *bus.BatchMessage, why error) error {
	note, payload := m.Note, m.Payload
	if note == nil {
		note = m.Raw
	}
	kept, err := in.cfg.Store.Quarantine(ctx, m.Agent, why.Error(), note, payload)
	if err != nil {
		return err
	}
	in.cfg.Log.Warn("A message is not believed",
		zap.String("agent", m.Agent), zap.Uint64("sequence", m.Sequence), zap.Bool("kept", kept), zap.Error(why))
	return nil
}

func (in *Ingest) report(done *store.Appended) {
	if done.Lied > 0 {
		in.cfg.Log.Error("An agent signed two notes for one place in its chain", zap.Int("notes", done.Lied))
	}
	if done.Refused > 0 {
		in.cfg.Log.Warn("Batches are refused until those before them come", zap.Int("batches", done.Refused))
	}
}

// Release accepts, every so often until ctx ends, the batches that have waited
// longer than patience for one that never came.
func (in *Ingest) Release(ctx context.Context, patience time.Duration) error {
	tick := time.NewTicker(max(patience/10, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		done, err := in.cfg.Store.Release(ctx, time.Now().Add(-patience))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("release: %w", err)
		}
		if len(done.Placed) > 0 {
			in.cfg.Log.Error("Batches were accepted with a gap before them", zap.Int("batches", len(done.Placed)))
			in.receipts(ctx, done.Placed, nil)
		}
	}
}
