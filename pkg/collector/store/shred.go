package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Shred says which bodies to destroy: those of one session, or those that were
// stored before a time, of all resources or of one.
type Shred struct {
	Session  string
	Before   time.Time
	Resource string // "" for all
	By       string // who wants it
	Reason   string // why
}

// batchesPerShred bounds the batches of one transaction: while it runs, nothing
// can be appended.
const batchesPerShred = 64

// Shred destroys bodies, the words that were indexed of them and what approvals
// show of them. Each step destroys some and appends the leaf that says so, in
// one transaction, so that a body is never missing without a reason; what was
// left undone is found by the next call. It returns how many were destroyed.
func (s *Store) Shred(ctx context.Context, what Shred) (bodies int, err error) {
	from := int64(0)
	for {
		indexes, err := s.toShred(ctx, &what, from)
		if err != nil || len(indexes) == 0 {
			return bodies, errors.Join(err, s.forget(ctx, bodies))
		}
		var n int
		err = s.change(ctx, func(tx *sql.Tx) (err error) {
			n, err = s.shredSome(ctx, tx, &what, indexes)
			return err
		})
		if err != nil {
			return bodies, fmt.Errorf("shred: %w", err)
		}
		bodies += n
		from = indexes[len(indexes)-1] + 1
	}
}

// forget has the write-ahead log written back and emptied, which holds what was
// just overwritten in the database.
func (s *Store) forget(ctx context.Context, bodies int) error {
	if bodies == 0 {
		return nil
	}
	_, err := s.write.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// toShred returns the next leaves that may hold what is to be destroyed.
func (s *Store) toShred(ctx context.Context, what *Shred, from int64) ([]int64, error) {
	query, args := `SELECT log_index FROM batches WHERE stored < ?1 AND log_index >= ?2`, []any{stamp(what.Before), from}
	switch {
	case what.Session != "":
		query, args = `SELECT DISTINCT log_index FROM pieces JOIN sessions ON key = session WHERE id = ?1 AND log_index >= ?2`, []any{what.Session, from}
	case what.Resource != "":
		query += ` AND log_index IN (SELECT log_index FROM pieces JOIN sessions ON key = session WHERE resource = ?3)`
		args = append(args, what.Resource)
	}
	rows, err := s.read.QueryContext(ctx, fmt.Sprintf("%s ORDER BY 1 LIMIT %d", query, batchesPerShred), args...)
	if err != nil {
		return nil, fmt.Errorf("find bodies: %w", err)
	}
	return collect(rows, func(row scanner) (index int64, err error) {
		err = row.Scan(&index)
		return index, err
	})
}

// shredSome destroys what is to be destroyed in the batches at the indexes.
func (s *Store) shredSome(ctx context.Context, tx *sql.Tx, what *Shred, indexes []int64) (bodies int, err error) {
	x := shredding{store: s, tx: tx, what: what, words: newWording(tx)}
	if x.indexed, err = readIndexed(ctx, tx); err != nil {
		return 0, err
	}
	if _, err := tx.Exec("INSERT INTO words (words, rank) VALUES ('secure-delete', 1)"); err != nil {
		return 0, fmt.Errorf("prepare index: %w", err)
	}
	for _, index := range indexes {
		n, err := x.batch(index)
		if err != nil {
			return 0, fmt.Errorf("batch %d: %w", index, err)
		}
		bodies += n
	}
	if bodies == 0 {
		return 0, nil
	}
	return bodies, x.leaves(ctx)
}

// shredding is one transaction of Shred.
type shredding struct {
	store   *Store
	tx      *sql.Tx
	what    *Shred
	words   *wording
	packer  record.Packer
	indexed int64 // words of batches before it are in the index
	spans   []translog.Span
}

// batch destroys bodies of one batch and returns how many.
func (x *shredding) batch(index int64) (bodies int, err error) {
	b, err := x.store.scanStored(x.tx.QueryRow("SELECT "+storedColumns+" FROM batches WHERE log_index = ?", index))
	if err != nil {
		return 0, err
	}
	for from := 0; from < len(b.entries); from += groupSize {
		n, err := x.group(b, from)
		if err != nil {
			return 0, err
		}
		bodies += n
	}
	if bodies == 0 {
		return 0, nil
	}
	payload, err := x.packer.PackStored(b.entries)
	if err != nil {
		return 0, err
	}
	_, err = x.tx.Exec("UPDATE batches SET payload = ? WHERE log_index = ?", payload, index)
	return bodies, err
}

// group destroys bodies of one group of records and the words that only they
// had.
func (x *shredding) group(b *stored, from int) (bodies int, err error) {
	before, err := x.words.group(b, from, skip)
	if err != nil {
		return 0, err
	}
	for i := from; i < min(from+groupSize, len(b.entries)); i++ {
		e := &b.entries[i]
		if e.BodyHash != nil || len(e.Body) == 0 {
			continue
		}
		chosen, err := x.chosen(b, i)
		if err != nil {
			return 0, err
		}
		if !chosen {
			continue
		}
		*e = e.Shred()
		x.span(b.index, e.No)
		bodies++
	}
	if bodies == 0 || b.index >= x.indexed {
		return bodies, nil
	}
	return bodies, x.reword(b, from, before)
}

// skip takes no note of records without words.
func skip(*stored, uint64, error) error { return nil }

// reword gives a group the words that it has left, in place of those that it
// had before.
func (x *shredding) reword(b *stored, from int, before string) error {
	place := placeOf(b.index, from)
	if before != "" {
		if _, err := x.tx.Exec("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", place, before); err != nil {
			return err
		}
	}
	left, err := x.words.group(b, from, skip)
	if err != nil || left == "" {
		return err
	}
	_, err = x.tx.Exec("INSERT INTO words (rowid, text) VALUES (?, ?)", place, left)
	return err
}

// chosen reports whether an entry's body is to be destroyed.
func (x *shredding) chosen(b *stored, i int) (bool, error) {
	header, err := decodeHeader(&b.entries[i])
	if err != nil { // no record of ours: it belongs to nobody
		return x.what.Session == "" && x.what.Resource == "", nil
	}
	if x.what.Session != "" && header.Session != x.what.Session {
		return false, nil
	}
	session, err := x.words.session(b.agent, []byte(header.Session))
	if errors.Is(err, sql.ErrNoRows) {
		return x.what.Session == "" && x.what.Resource == "", nil
	}
	if err != nil {
		return false, err
	}
	if x.what.Resource != "" && session.resource != x.what.Resource {
		return false, nil
	}
	if header.Approval != nil {
		if err := x.approval(b.agent, header.Approval.ID); err != nil {
			return false, err
		}
	}
	return true, nil
}

// approval empties what is shown of an approval that was settled.
func (x *shredding) approval(agent, id string) error {
	_, err := x.tx.Exec("UPDATE approvals SET text = '', request = X'' WHERE agent = ? AND id = ? AND state <> 'pending'", agent, id)
	return err
}

func (x *shredding) span(index int64, no uint64) {
	if n := len(x.spans); n > 0 && x.spans[n-1].Index == index && x.spans[n-1].Last+1 == no {
		x.spans[n-1].Last = no
		return
	}
	x.spans = append(x.spans, translog.Span{Index: index, First: no, Last: no})
}

// leaves appends what was destroyed to the log.
func (x *shredding) leaves(ctx context.Context) error {
	size, err := logSize(ctx, x.tx)
	if err != nil {
		return err
	}
	for spans := range slices.Chunk(x.spans, translog.MaxSpans) {
		note, err := translog.SignShredding(&translog.Shredding{At: time.Now().UTC(), By: x.what.By, Reason: x.what.Reason, Bodies: spans}, x.store.signer)
		if err != nil {
			return err
		}
		if _, err := x.tx.Exec("INSERT INTO shreddings VALUES (?, ?)", size, note); err != nil {
			return fmt.Errorf("write shredding: %w", err)
		}
		for _, b := range spans {
			if _, err := x.tx.Exec("INSERT INTO shredded VALUES (?, ?) ON CONFLICT DO NOTHING", b.Index, size); err != nil {
				return fmt.Errorf("write shredding: %w", err)
			}
		}
		if size, err = translog.Append(size, [][]byte{note}, nodes{ctx, x.tx, nil}); err != nil {
			return err
		}
	}
	return x.store.sign(ctx, x.tx, size)
}
