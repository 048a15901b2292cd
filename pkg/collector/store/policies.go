package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
)

//go:embed policies.sql
var policiesSchema string

// ErrOutdated reports a publication that is not newer than the newest.
var ErrOutdated = errors.New("a newer policy has been published")

// AddPolicy keeps a published policy. Its sequence must be above all others'.
func (s *Store) AddPolicy(ctx context.Context, sequence uint64, published []byte) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		added, err := tx.Exec("INSERT INTO policies (sequence, published) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM policies WHERE sequence >= ?1)", int64(sequence), published)
		if err != nil {
			return err
		}
		n, err := added.RowsAffected()
		if err == nil && n == 0 {
			err = ErrOutdated
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add policy: %w", err)
	}
	return nil
}

// Policies returns the published policies whose sequence is above another,
// newest first, at most n.
func (s *Store) Policies(ctx context.Context, above uint64, n int) ([][]byte, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT published FROM policies WHERE sequence > ? ORDER BY sequence DESC LIMIT ?", int64(above), limit(n))
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	return collect(rows, func(row scanner) (published []byte, err error) {
		err = row.Scan(&published)
		return published, err
	})
}
