package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// AddOrder keeps a signed order until it expires. The same id again changes
// nothing.
func (s *Store) AddOrder(ctx context.Context, id string, at, expires time.Time, signed []byte) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR IGNORE INTO orders (id, at, expires, signed) VALUES (?, ?, ?, ?)", id, stamp(at), stamp(expires), signed)
		return err
	})
	if err != nil {
		return fmt.Errorf("add order: %w", err)
	}
	return nil
}

// Orders returns the signed orders that have not expired, oldest first.
func (s *Store) Orders(ctx context.Context) ([][]byte, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT signed FROM orders WHERE expires > ? ORDER BY at, id", stamp(time.Now()))
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return collect(rows, func(row scanner) (signed []byte, err error) {
		err = row.Scan(&signed)
		return signed, err
	})
}
