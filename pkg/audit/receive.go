package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/failpoint"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// doubtEvery bounds how often a receipt that proves nothing is recorded:
// whoever can write to the bus can send any number.
const doubtEvery = time.Minute

// doubts counts receipts that prove nothing.
type doubts struct {
	count uint64
	last  time.Time
}

// Deliver takes a receipt as it came from the bus. It frees what the receipt
// proves to be in the log. One that proves nothing changes nothing; when it
// contradicts what the collector proved before, that is recorded.
func (l *Log) Deliver(receipt []byte) {
	err := l.accept(receipt)
	if errors.Is(err, translog.ErrStale) {
		poke(l.again)
		return
	}
	if err != nil {
		l.doubt(err)
	}
}

// accept verifies a receipt and frees what it proves.
func (l *Log) accept(receipt []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil // it is for whoever took over
	}
	accepted, err := translog.AcceptReceipt(receipt, l.cfg.Collector, l.chain.seen, l.leafOf)
	if err != nil {
		return err
	}
	if accepted.Checkpoint != l.chain.seen {
		if err := l.note(seenEntry, []byte(accepted.Signed)); err != nil {
			return fmt.Errorf("keep checkpoint: %w", err)
		}
		l.chain.seen, l.chain.Seen = accepted.Checkpoint, accepted.Signed
		failpoint.Here("audit.seen")
	}
	if len(accepted.Batches) == 0 {
		return nil
	}
	encoded, err := json.Marshal(accepted.Batches)
	if err != nil {
		return fmt.Errorf("keep receipt: %w", err)
	}
	if err := l.note(ackEntry, encoded); err != nil {
		return fmt.Errorf("keep receipt: %w", err)
	}
	failpoint.Here("audit.acknowledged")
	l.chain.acknowledge(accepted.Batches)
	l.release()
	if len(l.chain.pending) == 0 {
		poke(l.idle)
	} else {
		poke(l.made) // the window has moved
	}
	return l.free()
}

// release gives workloads back what the collector has. mu is held.
func (l *Log) release() {
	upTo := l.chain.Next
	for _, p := range l.chain.pending {
		if p.Epoch != l.chain.Epoch {
			return // records of this epoch wait behind it
		}
		upTo = min(upTo, p.first)
	}
	l.receive(upTo)
	l.write.mu.Lock()
	defer l.write.mu.Unlock()
	l.write.shares.release(upTo)
}

// note keeps what a receipt said. A full spool is no reason to refuse the one
// thing that makes room in it: what is not kept is asked for again after a
// restart.
func (l *Log) note(kind spool.Kind, what []byte) error {
	_, err := l.cfg.Spool.AppendReserved(kind, what, nil)
	if errors.Is(err, spool.ErrFull) {
		return nil
	}
	return err
}

// leafOf returns the leaf of a batch that waits for its receipt. mu is held.
func (l *Log) leafOf(id record.BatchID) (translog.Hash, bool) {
	for _, p := range l.chain.pending {
		if p.BatchID == id {
			return p.leaf, true
		}
	}
	return translog.Hash{}, false
}

// free gives up the segments whose every record is in the log. The state that
// makes their loss good is written first. mu is held.
func (l *Log) free() error {
	upTo := l.chain.Batched
	if len(l.chain.pending) > 0 {
		upTo = min(upTo, l.chain.pending[0].position)
	}
	if upTo>>32 == l.chain.From>>32 {
		return nil // nothing to be gained within a segment
	}
	l.chain.From = upTo
	state, err := json.Marshal(&l.chain)
	if err != nil {
		return fmt.Errorf("write chain state: %w", err)
	}
	if err := l.cfg.Spool.SetState(state); err != nil {
		return err
	}
	failpoint.Here("audit.state.kept")
	return l.cfg.Spool.Free(upTo)
}

// doubt reports a receipt that proves nothing, or that proves the collector
// wrong.
func (l *Log) doubt(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubts.count++
	if time.Since(l.doubts.last) < doubtEvery {
		return
	}
	l.cfg.Log.Error("a receipt proves nothing", zap.Uint64("receipts", l.doubts.count), zap.Error(err))
	alert := record.Alert{Kind: "receipt", Count: l.doubts.count, Detail: err.Error()}
	if errors.Is(err, translog.ErrForked) {
		alert.Kind = "log-forked"
	}
	if err := l.Alert(alert); err != nil {
		l.cfg.Log.Error("the doubt could not be recorded", zap.Error(err))
	}
	l.doubts = doubts{last: time.Now()}
}
