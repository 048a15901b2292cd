package audit

import (
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// epochStart is the first entry of an epoch in the spool.
type epochStart struct {
	Epoch     record.Epoch  `json:"epoch"`
	PrevEpoch record.Epoch  `json:"prev_epoch"`
	Prev      record.Hash   `json:"prev"` // of the last note before
	Reason    record.Reason `json:"reason"`
	Secret    record.Hash   `json:"secret"` // salts are derived from it; never leaves the agent
}

// chain is where the agent's chain stands: what the next note continues, and
// what waits for a receipt.
type chain struct {
	epochStart
	Seq     uint64         `json:"seq"`     // of the next note
	Last    record.Hash    `json:"last"`    // NoteHash of the newest note
	Next    uint64         `json:"next"`    // number of the next record to be batched
	Sealed  bool           `json:"sealed"`  // the newest note is a seal
	Seen    string         `json:"seen"`    // newest verified checkpoint, signed
	From    spool.Position `json:"from"`    // entries before it are accounted for above
	Batched spool.Position `json:"batched"` // entries before it are in batches

	seen    translog.Checkpoint
	pending []*pendingBatch // oldest first
	written int64           // ns since this epoch began, by a clock that does not jump; when the newest note was written
}

// pendingBatch is a batch without a receipt.
type pendingBatch struct {
	record.BatchID
	first    uint64 // number of its first record
	position spool.Position
	leaf     translog.Hash
	sent     int64 // monotonic ns of the last publication, 0 for never
}

// begun reports whether there is an epoch.
func (c *chain) begun() bool { return c.Epoch != record.Epoch{} }

// applyEpoch takes the beginning of an epoch.
func (c *chain) applyEpoch(start epochStart) {
	c.epochStart = start
	c.Seq, c.Last, c.Next, c.Sealed = 0, start.Prev, 0, false
}

// applyNote takes a note that the agent signed.
func (c *chain) applyNote(b *record.Batch, note []byte, position spool.Position) {
	c.Seq, c.Last, c.Next, c.Sealed = b.Seq+1, record.NoteHash(note), b.First+b.Count, b.Seal
	c.pending = append(c.pending, &pendingBatch{BatchID: b.BatchID, first: b.First, position: position, leaf: translog.LeafHash(note)})
}

// acknowledge forgets batches that have a receipt.
func (c *chain) acknowledge(ids []record.BatchID) {
	done := make(map[record.BatchID]bool, len(ids))
	for _, id := range ids {
		done[id] = true
	}
	kept := c.pending[:0]
	for _, p := range c.pending {
		if !done[p.BatchID] {
			kept = append(kept, p)
		}
	}
	clear(c.pending[len(kept):])
	c.pending = kept
}

// recover reads state and spool, and batches what was left unbatched.
func (l *Log) recover() error {
	state, damaged, err := l.cfg.Spool.State()
	if err != nil {
		return err
	}
	if state != nil {
		if err := json.Unmarshal(state, &l.chain); err != nil {
			return fmt.Errorf("read chain state: %w", err)
		}
		if err := l.applySeen([]byte(l.chain.Seen)); err != nil {
			return fmt.Errorf("read chain state: %w", err)
		}
	}
	if damaged != nil {
		l.damage = append(l.damage, *damaged)
	}
	l.damage = append(l.damage, l.cfg.Spool.Damage()...)
	if err := l.replay(); err != nil {
		return err
	}
	if !l.chain.begun() || l.chain.Sealed {
		return nil
	}
	_, err = l.batchAll()
	return err
}

// replay reads the spool from where the state ends.
func (l *Log) replay() error {
	tail := unsigned{after: l.chain.From, next: l.chain.Next}
	for position := l.chain.From; ; {
		entry, ok, err := l.cfg.Spool.Read(position)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := l.apply(&entry); err != nil {
			return err
		}
		if err := tail.add(&entry, l.chain.Next); err != nil {
			return err
		}
		position = entry.Next
	}
	l.chain.Seq += tail.lostNotes(l.damage)
	return nil
}

// unsigned is what follows the newest note that can be read.
type unsigned struct {
	after spool.Position // of that note
	next  uint64         // number that the next record should have
	lost  uint64         // records whose numbers are missing
}

func (u *unsigned) add(entry *spool.Entry, next uint64) error {
	switch entry.Kind {
	case epochEntry:
		*u = unsigned{after: entry.Position}
		return nil
	case batchEntry: // records behind it in number may stand before it
		*u = unsigned{after: entry.Position, next: max(u.next, next)}
		return nil
	case recordEntry:
	default:
		return nil
	}
	no, _, _, err := cutStamp(entry.Head)
	if err != nil {
		return err
	}
	if no >= u.next {
		u.lost += no - u.next
		u.next = no + 1
	}
	return nil
}

// lostNotes returns how many damaged entries may have been notes: those behind
// the newest note that can be read, but for the records that are missing. Such
// a note may be published already. Its number is left out, because two notes
// of one number would make the agent a liar, and a hole is the truth.
func (u *unsigned) lostNotes(damage []spool.Damage) uint64 {
	var damaged uint64
	for _, d := range damage {
		if d.Kind != spool.TornTail && d.Kind != spool.AlteredState && d.Position > u.after {
			damaged++
		}
	}
	return damaged - min(damaged, u.lost)
}

// apply takes one entry of the spool into the chain.
func (l *Log) apply(entry *spool.Entry) error {
	c := &l.chain
	switch entry.Kind {
	case epochEntry:
		var start epochStart
		if err := json.Unmarshal(entry.Head, &start); err != nil {
			return fmt.Errorf("read epoch: %w", err)
		}
		if start.Epoch != c.Epoch {
			c.applyEpoch(start)
			c.Batched = entry.Position
		}
	case batchEntry:
		b, err := translog.PeekBatch(entry.Head)
		if err != nil {
			return fmt.Errorf("read batch: %w", err)
		}
		if b.Epoch != c.Epoch { // the epoch's own entry was lost, and its secret with it
			start := epochStart{Epoch: b.Epoch, PrevEpoch: b.PrevEpoch, Reason: b.Reason}
			_, _ = rand.Read(start.Secret[:]) // never fails
			c.applyEpoch(start)
			c.Batched = entry.Position
		}
		c.applyNote(&b, entry.Head, entry.Position)
	case ackEntry:
		var ids []record.BatchID
		if err := json.Unmarshal(entry.Head, &ids); err != nil {
			return fmt.Errorf("read acknowledgement: %w", err)
		}
		c.acknowledge(ids)
	case seenEntry:
		return l.applySeen(entry.Head)
	}
	return nil
}

func (l *Log) applySeen(signed []byte) error {
	if len(signed) == 0 {
		return nil
	}
	seen, err := translog.OpenCheckpoint(signed, l.cfg.Collector)
	if err != nil {
		return err
	}
	l.chain.seen, l.chain.Seen = seen, string(signed)
	return nil
}

// begin starts the epoch and writes its first records.
func (l *Log) begin() error {
	start := epochStart{PrevEpoch: l.chain.Epoch, Prev: l.chain.Last, Reason: record.Boot}
	if l.chain.begun() && !l.chain.Sealed {
		start.Reason = record.Recover
	}
	_, _ = rand.Read(start.Epoch[:]) // never fails
	_, _ = rand.Read(start.Secret[:])
	encoded, err := json.Marshal(start)
	if err != nil {
		return fmt.Errorf("begin epoch: %w", err)
	}
	position, err := l.cfg.Spool.AppendReserved(epochEntry, encoded, nil)
	if err != nil {
		return fmt.Errorf("begin epoch: %w", err)
	}
	l.chain.applyEpoch(start)
	l.chain.Batched = position
	l.epoch = start.Epoch
	l.write.key = sealingKey(start.Secret)
	return l.announce()
}

// announce writes who writes from now on, and what Open found.
func (l *Log) announce() error {
	if err := l.appendDurable(&record.Header{Type: record.AgentStarted, Agent: &l.cfg.About}, &record.Body{}, true); err != nil {
		return err
	}
	for _, d := range l.damage {
		alert := record.Alert{Kind: "spool-" + string(d.Kind), Count: 1, Detail: fmt.Sprintf("segment %d offset %d, %d bytes", d.Position>>32, uint32(d.Position), d.Bytes)}
		if err := l.Alert(alert); err != nil {
			return err
		}
	}
	return nil
}
