package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Reindex throws away everything derived and makes it again from the notes and
// payloads, in one transaction. Whether the notes are still those of the log is for Verify.
// The words follow in IndexWords.
func (s *Store) Reindex(ctx context.Context) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DROP TABLE chains; DROP TABLE sessions; DROP TABLE runs; DROP TABLE pieces; DROP TABLE words;
			DELETE FROM meta WHERE key = 'indexed';` + derivedSchema + wordsSchema)
		if err != nil {
			return fmt.Errorf("make tables anew: %w", err)
		}
		a, err := s.begin(ctx, tx)
		if err != nil {
			return err
		}
		for index := range a.size {
			err := a.again(index)
			if err != nil && !errors.Is(err, sql.ErrNoRows) { // a leaf without a batch is a shredding
				return fmt.Errorf("batch %d: %w", index, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	poke(s.words)
	return nil
}

// again derives what follows from the batch at a log index.
func (a *appending) again(index int64) error {
	var b Batch
	var stored int64
	err := a.tx.QueryRow("SELECT note, payload, stored FROM batches WHERE log_index = ?", index).Scan(&b.Note, &b.Payload, &stored)
	if err != nil {
		return err
	}
	if b.Batch, err = translog.PeekBatch(b.Note); err != nil {
		return err
	}
	if b.Entries, err = record.UnpackStored(b.Payload); err != nil {
		return err
	}
	a.now = moment(stored)
	link, err := a.link(&b)
	if err != nil {
		return err
	}
	if link == early {
		link = forced // it was not waited for again
	}
	if err := a.chain(&b, link, index); err != nil {
		return err
	}
	return a.derive(&b, index)
}
