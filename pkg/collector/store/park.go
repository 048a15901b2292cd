package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// maxParked bounds the batches of one agent that wait. What is beyond it is
// sent again by the agent, since it has no receipt.
const maxParked = 64

// park keeps a batch that came before its time.
func (a *appending) park(b *Batch) error {
	var n, same, other int
	err := a.tx.QueryRow(`SELECT count(*), count(*) FILTER (WHERE epoch = ?1 AND seq = ?2 AND note = ?3),
		count(*) FILTER (WHERE epoch = ?1 AND seq = ?2 AND note <> ?3) FROM parked WHERE agent = ?4`,
		b.Epoch.String(), int64(b.Seq), b.Note, b.Agent).Scan(&n, &same, &other)
	switch {
	case err != nil:
		return err
	case other > 0:
		return a.lied(b, "another note with the same number waits for its turn; both are signed by the agent")
	case same > 0:
		a.out.Parked++
		return nil
	case n >= maxParked:
		a.out.Refused++
		return nil
	}
	a.out.Parked++
	_, err = a.tx.Exec("INSERT INTO parked VALUES (?, ?, ?, ?, ?, ?)",
		b.Agent, b.Epoch.String(), int64(b.Seq), stamp(a.now), b.Note, notNull(b.Payload))
	if err != nil {
		return fmt.Errorf("park: %w", err)
	}
	return nil
}

// unpark places those of an agent's parked batches whose turn has come.
func (a *appending) unpark(agent string) error {
	for {
		waiting, err := a.waiting("SELECT note, payload FROM parked WHERE agent = ? ORDER BY at, epoch, seq", agent)
		if err != nil {
			return err
		}
		moved := false
		for i := range waiting {
			b := &waiting[i]
			link, err := a.link(b)
			if err != nil {
				return err
			}
			if link == early {
				continue
			}
			if err := a.leave(b, link); err != nil {
				return err
			}
			moved = true
		}
		if !moved {
			return nil
		}
	}
}

// leave places a batch that was parked.
func (a *appending) leave(b *Batch, link link) error {
	if err := a.place(b, link); err != nil {
		return err
	}
	_, err := a.tx.Exec("DELETE FROM parked WHERE agent = ? AND epoch = ? AND seq = ?", b.Agent, b.Epoch.String(), int64(b.Seq))
	return err
}

// waiting reads parked batches. They were verified before they were parked.
func (a *appending) waiting(query string, args ...any) ([]Batch, error) {
	rows, err := a.tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row scanner) (b Batch, err error) {
		if err = row.Scan(&b.Note, &b.Payload); err != nil {
			return b, err
		}
		if b.Batch, err = translog.PeekBatch(b.Note); err != nil {
			return b, err
		}
		b.Entries, err = record.Unpack(b.Payload)
		return b, err
	})
}

// Release gives up on what never came: it appends the batches that have been
// parked since before deadline, oldest first, and makes a finding of each gap.
// Nothing is dropped.
func (s *Store) Release(ctx context.Context, deadline time.Time) (Appended, error) {
	var a *appending
	err := s.change(ctx, func(tx *sql.Tx) (err error) {
		if a, err = s.begin(ctx, tx); err != nil {
			return err
		}
		for {
			overdue, err := a.waiting("SELECT note, payload FROM parked WHERE at < ? ORDER BY at, epoch, seq LIMIT 1", stamp(deadline))
			if err != nil {
				return err
			}
			if len(overdue) == 0 {
				return a.finish()
			}
			if err := a.leave(&overdue[0], forced); err != nil {
				return err
			}
			if err := a.unpark(overdue[0].Agent); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return Appended{}, fmt.Errorf("release parked batches: %w", err)
	}
	poke(s.words)
	return a.out, nil
}
