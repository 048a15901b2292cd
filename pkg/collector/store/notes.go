package store

import (
	"context"
	"fmt"
)

// Notes returns the signed notes of the leaves from first to end, end not
// included: of agents and shreddings. All are there, or it is an error.
func (s *Store) Notes(ctx context.Context, first, end int64) ([][]byte, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT log_index, note FROM batches WHERE log_index >= ?1 AND log_index < ?2
		UNION ALL SELECT log_index, note FROM shreddings WHERE log_index >= ?1 AND log_index < ?2 ORDER BY 1`, first, end)
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	next := first
	notes, err := collect(rows, func(row scanner) (note []byte, err error) {
		var index int64
		if err := row.Scan(&index, &note); err != nil {
			return nil, err
		}
		if index != next {
			return nil, fmt.Errorf("leaf %d is missing", next)
		}
		next++
		return note, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	if next != end {
		return nil, fmt.Errorf("read notes: leaf %d is missing", next)
	}
	return notes, nil
}
