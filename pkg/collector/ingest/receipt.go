package ingest

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/translog"
)

// receipts sends each agent the receipts of what stands in the log. A receipt
// that cannot be made or sent is no fault: the agent asks again.
func (in *Ingest) receipts(ctx context.Context, placed []store.Placed, seen map[string]int64) {
	byAgent := map[string][]store.Placed{}
	for _, p := range placed {
		byAgent[p.Agent] = append(byAgent[p.Agent], p)
	}
	for agent, all := range byAgent {
		for group := range slices.Chunk(all, translog.MaxPending) {
			receipt, err := in.receipt(ctx, agent, in.from(agent, seen[agent]), group)
			if err == nil {
				err = in.cfg.Send(agent, receipt)
			}
			if err != nil {
				in.cfg.Log.Warn("A receipt was not sent", zap.String("agent", agent), zap.Error(err))
			}
		}
	}
}

// from returns the size of the checkpoint that an agent most likely stands at:
// the one it was last sent, else the one it has signed as seen.
func (in *Ingest) from(agent string, seen int64) int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return max(in.sent[agent], seen)
}

// receipt proves group under the newest checkpoint, and that checkpoint from
// the one of size from.
func (in *Ingest) receipt(ctx context.Context, agent string, from int64, group []store.Placed) ([]byte, error) {
	size, note, err := in.cfg.Store.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if from > size {
		from = 0 // what the agent has seen is not this log; it will not accept this, and a finding says so
	}
	hashes := in.cfg.Store.KnownHashes(ctx)
	r := translog.Receipt{Checkpoint: string(note), From: from, Batches: []translog.Included{}}
	if r.Consistency, err = translog.ProveConsistency(from, size, hashes); err != nil {
		return nil, err
	}
	for _, p := range group {
		proof, err := translog.ProveInclusion(size, p.Index, hashes)
		if err != nil {
			return nil, err
		}
		r.Batches = append(r.Batches, translog.Included{BatchID: p.BatchID, Index: p.Index, Proof: proof})
	}
	encoded, err := translog.EncodeReceipt(&r)
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	in.sent[agent] = size
	in.mu.Unlock()
	return encoded, nil
}

// Sync answers an agent that asks where it stands: a receipt from what it has
// seen, for those of its pending batches that are in the log.
func (in *Ingest) Sync(ctx context.Context, agent string, request []byte) (receipt []byte, err error) {
	r, err := translog.DecodeSyncRequest(request)
	if err != nil {
		return nil, err
	}
	var placed []store.Placed
	for _, id := range r.Pending {
		index, ok, err := in.cfg.Store.Find(ctx, agent, id)
		if err != nil {
			return nil, fmt.Errorf("find batch: %w", err)
		}
		if ok {
			placed = append(placed, store.Placed{Agent: agent, BatchID: id, Index: index})
		}
	}
	return in.receipt(ctx, agent, r.Seen, placed)
}
