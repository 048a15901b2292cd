package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/pkg/record"
)

// stored is a batch as it was read back, or is remembered.
type stored struct {
	index        int64
	agent, epoch string
	seq          uint64
	note         []byte
	entries      []record.Entry

	shredded int64 // of one that is remembered: the newest shredding before it
}

// decodeHeader reads an entry's header.
func decodeHeader(e *record.Entry) (record.Header, error) {
	header, err := record.DecodeHeader(e.Header)
	if err == nil && header.No != e.No {
		err = errors.New("the header has another number than the entry")
	}
	return header, err
}

// decode reads an entry's header and body. An empty body is a zero Body.
func decode(e *record.Entry) (header record.Header, body record.Body, err error) {
	if header, err = decodeHeader(e); err != nil {
		return header, body, err
	}
	body, err = record.DecodeBody(e.Body)
	return header, body, err
}

const storedColumns = "log_index, agent, epoch, seq, note, payload"

func (s *Store) scanStored(row scanner) (*stored, error) {
	b := &stored{}
	var payload []byte
	if err := row.Scan(&b.index, &b.agent, &b.epoch, &b.seq, &b.note, &payload); err != nil {
		return nil, err
	}
	var err error
	if b.entries, err = record.UnpackStored(payload); err != nil {
		return nil, fmt.Errorf("batch %d: %w", b.index, err)
	}
	return b, nil
}

// batch reads the batch at a log index.
func (s *Store) batch(ctx context.Context, index int64) (*stored, error) {
	b, err := s.scanStored(s.read.QueryRowContext(ctx, "SELECT "+storedColumns+" FROM batches WHERE log_index = ?", index))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("batch %w", ErrNotFound)
	}
	return b, err
}

// leaf reads the batch or the shredding at a log index. A shredding has its
// note only.
func (s *Store) leaf(ctx context.Context, index int64) (*stored, error) {
	b, err := s.batch(ctx, index)
	if !errors.Is(err, ErrNotFound) {
		return b, err
	}
	b = &stored{index: index}
	err = s.read.QueryRowContext(ctx, "SELECT note FROM shreddings WHERE log_index = ?", index).Scan(&b.note)
	if err != nil {
		return nil, fmt.Errorf("read leaf %d: %w", index, err)
	}
	return b, nil
}

// batches reads at most n batches from a log index on.
func (s *Store) batches(ctx context.Context, from int64, n int) ([]*stored, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT "+storedColumns+" FROM batches WHERE log_index >= ? ORDER BY log_index LIMIT ?", from, n)
	if err != nil {
		return nil, fmt.Errorf("read batches: %w", err)
	}
	return collect(rows, s.scanStored)
}

// Size returns the number of leaves in the log.
func (s *Store) Size(ctx context.Context) (int64, error) {
	return logSize(ctx, s.read)
}

func logSize(ctx context.Context, db querier) (size int64, err error) {
	if err = db.QueryRowContext(ctx, `SELECT max(coalesce((SELECT max(log_index) + 1 FROM batches), 0),
		coalesce((SELECT max(log_index) + 1 FROM shreddings), 0))`).Scan(&size); err != nil {
		return 0, fmt.Errorf("read log size: %w", err)
	}
	return size, nil
}

// Find returns where an agent's batch stands in the log, and whether it does.
func (s *Store) Find(ctx context.Context, agent string, id record.BatchID) (index int64, ok bool, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT log_index FROM batches WHERE agent = ? AND epoch = ? AND seq = ?",
		agent, id.Epoch.String(), int64(id.Seq)).Scan(&index)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return index, err == nil, err
}
