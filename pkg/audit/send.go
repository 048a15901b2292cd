package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/failpoint"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

const (
	// resendAfter is how long a published batch may be without a receipt.
	resendAfter = 10 * time.Second
	// retryAfter is the pause after the bus or the collector did not answer.
	retryAfter = time.Second
	// drainFor is how long a stopping agent waits for its last receipts.
	drainFor = 5 * time.Second
	// window is how many batches may be under way: what one SyncRequest names.
	window = translog.MaxPending
)

// Run signs, publishes and sends again until ctx ends; then it seals the chain
// and waits a little for the last receipts. What has none by then stays in the
// spool for the next run. It returns an error when the seal could not be
// written. Run is called once. HandOver ends it too, without a seal.
func (l *Log) Run(ctx context.Context) error {
	defer close(l.left)
	ctx, stopBatching := context.WithCancel(ctx)
	defer stopBatching()
	go func() {
		select {
		case <-l.leaving:
			stopBatching()
		case <-ctx.Done():
		}
	}()
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { l.sendLoop(sending) })
	l.batchLoop(ctx.Done(), func() { poke(l.made) })
	select {
	case <-l.leaving:
		stop()
		work.Wait()
		return nil
	default:
	}
	err := l.seal()
	l.drain()
	stop()
	work.Wait()
	return err
}

// drain waits until every batch has its receipt: for a while, and not when the
// bus is away.
func (l *Log) drain() {
	select {
	case <-l.stuck: // before the seal
	default:
	}
	poke(l.made)
	deadline := time.After(drainFor)
	for l.Pending() > 0 {
		select {
		case <-l.idle:
		case <-l.stuck:
			return
		case <-deadline:
			return
		}
	}
}

// Pending returns how many batches have no receipt yet.
func (l *Log) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.chain.pending)
}

// Connected tells the log that the bus is there again: it asks the collector
// at once which batches it has. It never blocks.
func (l *Log) Connected() { poke(l.again) }

// sendLoop publishes until ctx ends.
func (l *Log) sendLoop(ctx context.Context) {
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-l.made:
		case <-tick.C:
		case <-l.again:
			asked = true
		}
		if err := l.send(ctx, asked); err != nil && ctx.Err() == nil {
			poke(l.stuck)
			l.cfg.Log.Warn("batches wait in the spool", zap.Int("batches", l.Pending()), zap.Error(err))
			select { // however many batches are made meanwhile
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
		}
	}
}

// send asks for receipts when asked or overdue, and publishes what was not
// published or has waited too long.
func (l *Log) send(ctx context.Context, asked bool) error {
	if asked || l.overdue() {
		if err := l.sync(ctx); err != nil {
			return err
		}
		l.forgetOverdue()
	}
	for ctx.Err() == nil {
		p := l.unsent()
		if p == nil {
			return nil
		}
		if err := l.publish(ctx, p); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// unsent returns the oldest batch within the window that is to be published.
func (l *Log) unsent() *pendingBatch {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.chain.pending[:min(window, len(l.chain.pending))] {
		if p.sent == 0 {
			return p
		}
	}
	return nil
}

func (l *Log) publish(ctx context.Context, p *pendingBatch) error {
	// What is published must not be unknown to the agent after a power loss, or
	// it would sign another note with the same number.
	if err := l.cfg.Spool.Sync(p.position); err != nil {
		return err
	}
	entry, ok, err := l.cfg.Spool.Read(p.position)
	if err != nil {
		return err
	}
	// Another entry there means that the batch was acknowledged and freed
	// meanwhile.
	if ok && entry.Position == p.position {
		failpoint.Here("audit.publish")
		if err := l.cfg.Publish(ctx, entry.Head, entry.Rest); err != nil {
			return err
		}
		failpoint.Here("audit.published")
	}
	l.mu.Lock()
	p.sent = l.now()
	l.mu.Unlock()
	return nil
}

// now is ns since the epoch began, never 0.
func (l *Log) now() int64 { return int64(time.Since(l.start)) + 1 }

func (l *Log) overdue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.chain.pending) > 0 && isOverdue(l.chain.pending[0], l.now())
}

// forgetOverdue has what is still without a receipt published again.
func (l *Log) forgetOverdue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.chain.pending {
		if isOverdue(p, l.now()) {
			p.sent = 0
		}
	}
}

func isOverdue(p *pendingBatch, now int64) bool {
	return p.sent != 0 && now-p.sent > int64(resendAfter)
}

// sync asks the collector where this agent stands.
func (l *Log) sync(ctx context.Context) error {
	l.mu.Lock()
	request := translog.SyncRequest{Seen: l.chain.seen.Size, Pending: []record.BatchID{}}
	for _, p := range l.chain.pending[:min(window, len(l.chain.pending))] {
		request.Pending = append(request.Pending, p.BatchID)
	}
	l.mu.Unlock()
	encoded, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("ask for receipts: %w", err)
	}
	receipt, err := l.cfg.Sync(ctx, encoded)
	if err != nil {
		return fmt.Errorf("ask for receipts: %w", err)
	}
	err = l.accept(receipt)
	if errors.Is(err, translog.ErrStale) && l.seenSize() == request.Seen {
		err = fmt.Errorf("%w: asked from %d: %w", translog.ErrForked, request.Seen, err)
	}
	if err != nil && !errors.Is(err, translog.ErrStale) {
		l.doubt(err)
	}
	return nil
}

func (l *Log) seenSize() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain.seen.Size
}
