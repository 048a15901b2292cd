package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Cosigned returns the newest checkpoint that witnesses co-signed, with their
// lines, and its size; nil when there is none.
func (s *Store) Cosigned(ctx context.Context) (size int64, note []byte, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT a.value, b.value FROM meta AS a, meta AS b
		WHERE a.key = 'cosigned.size' AND b.key = 'cosigned'`).Scan(&size, &note)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read cosigned checkpoint: %w", err)
	}
	return size, note, nil
}

// SetCosigned keeps a checkpoint with its cosignatures.
func (s *Store) SetCosigned(ctx context.Context, size int64, note []byte) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		return errors.Join(setMeta(tx, "cosigned", note), setMeta(tx, "cosigned.size", size))
	})
	if err != nil {
		return fmt.Errorf("keep cosigned checkpoint: %w", err)
	}
	return nil
}
