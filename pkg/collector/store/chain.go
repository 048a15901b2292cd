package store

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
)

// link says how a batch stands to what its agent sent before.
type link int

const (
	follows  link = iota // the next of its chain, or the agent's first
	early                // one before it has not come yet
	late                 // a gap was accepted before it came
	broken               // the next by its number, but it names another note before it
	unlinked             // an epoch that names none before it, though there are some
	forced               // early, and what is before it was waited for long enough or cannot come
)

// tail is the newest known end of one chain.
type tail struct {
	next   uint64 // seq
	nextNo uint64 // record
	hash   []byte // of the newest note
}

// tail returns nil when nothing of the epoch is known.
func (a *appending) tail(agent string, epoch record.Epoch) (*tail, error) {
	var t tail
	err := a.tx.QueryRow("SELECT next_seq, next_no, last_hash FROM chains WHERE agent = ? AND epoch = ?",
		agent, epoch.String()).Scan(&t.next, &t.nextNo, &t.hash)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read chain: %w", err)
	}
	return &t, nil
}

func (a *appending) link(b *Batch) (link, error) {
	own, err := a.tail(b.Agent, b.Epoch)
	if err != nil {
		return early, err
	}
	next := uint64(0)
	if own != nil {
		next = own.next
	}
	switch {
	case b.Seq > next && b.Seen.Size > a.size:
		return forced, nil // this log was rolled back, and the agent has freed what it lost
	case b.Seq > next:
		return early, nil
	case own == nil:
		return a.firstLink(b)
	case b.Seq < next:
		return late, nil
	case !bytes.Equal(own.hash, b.Prev[:]):
		return broken, nil
	}
	return follows, nil
}

// firstLink judges the first batch of an epoch.
func (a *appending) firstLink(b *Batch) (link, error) {
	if b.Prev == (record.Hash{}) {
		var epochs int
		err := a.tx.QueryRow("SELECT count(*) FROM chains WHERE agent = ?", b.Agent).Scan(&epochs)
		if err != nil || epochs == 0 {
			return follows, err
		}
		return unlinked, nil
	}
	before, err := a.tail(b.Agent, b.PrevEpoch)
	if err != nil || before == nil || !bytes.Equal(before.hash, b.Prev[:]) {
		return early, err
	}
	return follows, nil
}

// chain moves the agent's chain on and makes findings of what does not fit.
func (a *appending) chain(b *Batch, link link, index int64) error {
	if err := a.chainFindings(b, link); err != nil {
		return err
	}
	if err := a.numbers(b, link); err != nil {
		return err
	}
	if link == late {
		return nil
	}
	hash := record.NoteHash(b.Note)
	_, err := a.tx.Exec(`
		INSERT INTO chains (agent, epoch, prev, reason, next_seq, next_no, last_hash, records, drops, sealed, stored, newest, behind)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (agent, epoch) DO UPDATE SET
			next_seq = excluded.next_seq, next_no = excluded.next_no, last_hash = excluded.last_hash,
			records = records + excluded.records, drops = drops + excluded.drops,
			sealed = excluded.sealed, stored = excluded.stored, newest = excluded.newest, behind = excluded.behind`,
		b.Agent, b.Epoch.String(), b.PrevEpoch.String(), string(b.Reason), int64(b.Seq)+1, int64(b.First+b.Count),
		hash[:], int64(b.Count), int64(b.Drops), b.Seal, stamp(a.now), index,
		max(0, int64(a.now.Sub(time.UnixMilli(b.To)))))
	if err != nil {
		return fmt.Errorf("write chain: %w", err)
	}
	if b.Seq == 0 || link == forced {
		return abandon(a.tx, b.Agent, b.Epoch.String())
	}
	return nil
}

// numbers makes a finding of record numbers that do not continue those of the
// batch before, where that is known.
func (a *appending) numbers(b *Batch, link link) error {
	if link == late || link == forced {
		return nil
	}
	own, err := a.tail(b.Agent, b.Epoch)
	if err != nil {
		return err
	}
	want := b.Drops
	if own != nil {
		want += own.nextNo
	}
	if b.First == want {
		return nil
	}
	return a.finding(b, RecordsMissing, fmt.Sprintf("the batch begins with record %d, not %d", b.First, want))
}

func (a *appending) chainFindings(b *Batch, link link) error {
	if b.Drops > 0 {
		if err := a.finding(b, DropsStated, fmt.Sprintf("the agent lost %d records before this batch", b.Drops)); err != nil {
			return err
		}
	}
	switch link {
	case broken:
		return a.finding(b, ChainBroken, "the note names another one before it than the one that came")
	case unlinked:
		return a.finding(b, UnlinkedEpoch, "the epoch names none before it: the agent's spool was lost")
	case forced:
		return a.finding(b, Gap, "what was sent before this batch never came")
	case follows, early, late:
	}
	return nil
}
