package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// Message is something that a notifier has not been told yet: that an approval
// came to a state. Its ID is the same at each attempt.
type Message struct {
	ID       int64
	At       time.Time
	State    string // that the approval came to, then
	Attempts int    // that failed so far
	Approval view.Approval
}

// SetNotifiers says who is told from now on. What others had not been told is
// forgotten.
func (s *Store) SetNotifiers(ctx context.Context, names []string) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM notifiers"); err != nil {
			return err
		}
		for _, name := range names {
			if _, err := tx.Exec("INSERT INTO notifiers VALUES (?)", name); err != nil {
				return err
			}
		}
		_, err := tx.Exec("DELETE FROM outbox WHERE notifier NOT IN (SELECT name FROM notifiers)")
		return err
	})
	if err != nil {
		return fmt.Errorf("set notifiers: %w", err)
	}
	return nil
}

// NextMessage returns the oldest message for a notifier that is due; ok is
// false when none is. Then due says when the next one will be, zero for never.
func (s *Store) NextMessage(ctx context.Context, notifier string) (m Message, ok bool, due time.Time, err error) {
	var at, dueAt, number int64
	err = s.read.QueryRowContext(ctx, "SELECT id, number, state, at, attempts, due FROM outbox WHERE notifier = ? ORDER BY due, id LIMIT 1", notifier).
		Scan(&m.ID, &number, &m.State, &at, &m.Attempts, &dueAt)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, time.Time{}, nil
	}
	if err != nil {
		return m, false, time.Time{}, fmt.Errorf("read outbox: %w", err)
	}
	m.At, due = moment(at), moment(dueAt)
	if due.After(time.Now()) {
		return m, false, due, nil
	}
	m.Approval, err = s.Approval(ctx, view.Everything(), uint64(number))
	return m, err == nil, due, err
}

// Delivered forgets a message that a notifier took, or that is given up.
func (s *Store) Delivered(ctx context.Context, id int64) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM outbox WHERE id = ?", id)
	return err
}

// Failed keeps a message for another attempt.
func (s *Store) Failed(ctx context.Context, id int64, next time.Time) error {
	_, err := s.write.ExecContext(ctx, "UPDATE outbox SET attempts = attempts + 1, due = ? WHERE id = ?", stamp(next), id)
	return err
}
