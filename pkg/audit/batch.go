package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/failpoint"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

const (
	// batchBytes ends a batch early, and is the most that one holds. What a
	// batch costs on its way does not grow with it, so that few large ones are
	// cheaper.
	batchBytes = 2 << 20
	// batchRecords keeps the tree and the note's count within bounds.
	batchRecords = 4096
	// batchEvery is the longest that a record waits to be signed.
	batchEvery = 200 * time.Millisecond
	// heartbeatEvery is how long the chain may be silent.
	heartbeatEvery = 30 * time.Second
)

// batcher turns records into batches. The goroutine of Run owns it.
type batcher struct {
	packer  record.Packer
	salter  *record.Salter
	epoch   record.Epoch // that salter is of
	entries []record.Entry
	bytes   []byte  // of entries
	places  []place // of entries, in the spool
	leaves  []record.Hash
}

// place is where a record stands in the spool, and when it was made.
type place struct {
	next spool.Position // behind it
	ms   int64
}

// batchAll signs everything that waits, and returns how many batches it made.
func (l *Log) batchAll() (int, error) {
	l.write.mu.Lock()
	l.write.shares.mark(l.write.next)
	l.write.mu.Unlock()
	for made := 0; ; made++ {
		more, err := l.batchOnce(false)
		if err != nil || !more {
			return made, err
		}
	}
}

// batchOnce signs the next batch, and returns false when nothing waits. With
// always it signs an empty one then.
func (l *Log) batchOnce(always bool) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo, lost, err := l.collect()
	if err != nil {
		return false, fmt.Errorf("batch records: %w", err)
	}
	if len(l.batcher.entries) == 0 && !always {
		l.chain.Batched = upTo
		return false, nil
	}
	whole := len(l.batcher.entries)
	if err := l.sign(lost, false); err != nil {
		return false, fmt.Errorf("batch records: %w", err)
	}
	if n := len(l.batcher.entries); n < whole {
		upTo = l.batcher.places[n-1].next
	}
	l.chain.Batched = upTo
	return true, nil
}

// collect reads the next batch's records from the spool. Their numbers have no
// gaps; what the disk lost between two batches is counted. mu is held.
func (l *Log) collect() (upTo spool.Position, lost uint64, err error) {
	b, c := &l.batcher, &l.chain
	b.entries, b.bytes, b.places = b.entries[:0], b.bytes[:0], b.places[:0]
	if b.epoch != c.Epoch || b.salter == nil {
		b.epoch, b.salter = c.Epoch, record.NewSalter(c.Secret)
	}
	size, next := 0, c.Next
	for upTo = c.Batched; len(b.entries) < batchRecords; {
		entry, ok, err := l.cfg.Spool.ReadTo(&b.bytes, upTo)
		if err != nil {
			return 0, 0, err
		}
		if !ok {
			break
		}
		if entry.Kind == recordEntry {
			no, ms, header, err := cutStamp(entry.Head)
			if err != nil {
				return 0, 0, err
			}
			if no < c.Next {
				upTo = entry.Next
				continue // a batch holds it
			}
			size += len(header) + len(entry.Rest) + record.Overhead
			if len(b.entries) > 0 && (size > batchBytes || no != next) {
				break
			}
			if len(b.entries) == 0 {
				lost = no - next
			}
			next = no + 1
			b.entries = append(b.entries, record.Entry{No: no, Header: header, Body: entry.Rest, Salt: b.salter.Salt(no)})
			b.places = append(b.places, place{entry.Next, ms})
		}
		upTo = entry.Next
	}
	return upTo, lost, nil
}

// pack returns the payload of the collected records, or of so many of them as
// fit one.
func (b *batcher) pack() ([]byte, error) {
	for {
		payload, err := b.packer.Pack(b.entries)
		if !errors.Is(err, record.ErrTooMuch) || len(b.entries) < 2 {
			return payload, err
		}
		b.entries = b.entries[:len(b.entries)/2]
	}
}

// sign makes the note of the collected records, or of so many as fit one
// payload, and keeps note and payload in the spool, so that a batch is sent
// again as it was, never made again. mu is held.
func (l *Log) sign(lost uint64, seal bool) error {
	b, c := &l.batcher, &l.chain
	payload, err := b.pack()
	if err != nil {
		return err
	}
	b.leaves = b.leaves[:0]
	for i := range b.entries {
		b.leaves = append(b.leaves, b.entries[i].Leaf())
	}
	now := failpoint.Wall(time.Now()).UnixMilli()
	batch := record.Batch{
		Cluster: l.cfg.Cluster, Agent: l.cfg.Agent,
		BatchID:   record.BatchID{Epoch: c.Epoch, Seq: c.Seq},
		PrevEpoch: c.PrevEpoch, Reason: c.Reason, Prev: c.Last,
		First: c.Next + lost, Count: uint64(len(b.entries)), Drops: lost,
		Root: record.Root(b.leaves), Payload: sha256.Sum256(payload), PayloadLen: int64(len(payload)),
		From: now, To: now, Clock: clock(),
		Seen: record.Seen{Origin: c.seen.Origin, Size: c.seen.Size, Root: record.Hash(c.seen.Root)},
		Seal: seal,
	}
	if n := len(b.entries); n > 0 {
		batch.From, batch.To = b.places[0].ms, b.places[n-1].ms
	}
	note, err := translog.SignBatch(&batch, l.cfg.Signer)
	if err != nil {
		return err
	}
	failpoint.Here("audit.signed")
	position, err := l.cfg.Spool.AppendReserved(batchEntry, note, payload)
	if err != nil {
		return err
	}
	failpoint.Here("audit.batch.kept")
	c.applyNote(&batch, note, position)
	c.written = l.now()
	return nil
}

// seal refuses further records, signs what waits and ends the epoch.
func (l *Log) seal() error {
	l.reportRefused(true)
	l.write.mu.Lock()
	l.write.sealed = true
	l.write.mu.Unlock()
	if _, err := l.batchAll(); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batcher.entries = l.batcher.entries[:0]
	l.write.mu.Lock()
	lost := l.write.next - l.chain.Next // dropped, with no record behind them
	l.write.mu.Unlock()
	if err := l.sign(lost, true); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// batchLoop signs what comes until done is closed.
func (l *Log) batchLoop(done <-chan struct{}, made func()) {
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		case <-l.kick:
		}
		n, err := l.batchAll()
		if err == nil && n == 0 && l.silent() {
			_, err = l.batchOnce(true)
			n = 1
		}
		if err != nil {
			// Records stay in the spool, and once it is full every operation is
			// refused; so this is for the operator, and is tried again.
			l.cfg.Log.Error("records could not be signed", zap.Error(err))
			select {
			case <-done:
			case <-time.After(retryAfter):
			}
			continue
		}
		if n > 0 {
			made()
		}
		l.reportRefused(false)
	}
}

// silent reports whether it is time for a heartbeat.
func (l *Log) silent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now()-l.chain.written >= int64(heartbeatEvery)
}

// clock asks the kernel whether the wall clock is synchronised (adjtimex(2)).
func clock() record.Clock {
	const timeError = 5 // TIME_ERROR
	state, err := unix.Adjtimex(&unix.Timex{})
	if err != nil || state == timeError {
		return record.Unsynced
	}
	return record.Synced
}
