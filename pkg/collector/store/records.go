package store

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// PageBytes is how much record data one page holds that a program reads.
const PageBytes = 2 << 20

// Records returns one page of a session's records, in the order in which their
// batches stand in the log: whole batches, until they hold size bytes. after is
// the cursor of the page before, empty for the first.
func (s *Store) Records(ctx context.Context, sees view.Scope, session, after string, size int) (view.Records, error) {
	from := int64(0)
	if after != "" {
		last, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			return view.Records{}, fmt.Errorf("cursor %w", ErrNotFound)
		}
		from = last + 1
	}
	v, err := s.Session(ctx, sees, session)
	if err != nil {
		return view.Records{}, err
	}
	page := view.Records{Records: []view.Record{}}
	bytes := 0
	for b, err := range s.pieces(ctx, v.ReportedBy, session, from) {
		if err != nil {
			return view.Records{}, err
		}
		if bytes > size {
			page.Next = strconv.FormatInt(b.index-1, 10)
			return page, nil
		}
		for i := range b.entries {
			if r, ok := recordOf(b, &b.entries[i], session); ok {
				page.Records = append(page.Records, r)
				bytes += len(r.Header) + len(r.Body)
			}
		}
	}
	return page, nil
}

// recentBatches is how many batches of a session Recent looks at.
const recentBatches = 8

// Recent returns a session's newest records, in their order. Next is not empty
// when there are older ones.
func (s *Store) Recent(ctx context.Context, sees view.Scope, session string) (view.Records, error) {
	v, err := s.Session(ctx, sees, session)
	if err != nil {
		return view.Records{}, err
	}
	page := view.Records{Records: []view.Record{}}
	batches := 0
	for b, err := range s.each(ctx, `SELECT log_index FROM (SELECT log_index FROM pieces
		WHERE session = (SELECT key FROM sessions WHERE id = ?1 AND agent = ?2) ORDER BY log_index DESC LIMIT ?3) ORDER BY log_index`,
		session, v.ReportedBy, recentBatches+1) {
		if err != nil {
			return view.Records{}, err
		}
		if batches++; batches > recentBatches {
			page.Next = "older"
		}
		for i := range b.entries {
			if r, ok := recordOf(b, &b.entries[i], session); ok {
				page.Records = append(page.Records, r)
			}
		}
	}
	return page, nil
}

// recordOf returns the view of an entry if it is one of the session's.
func recordOf(b *stored, e *record.Entry, session string) (view.Record, bool) {
	header, _, err := decode(e)
	if err != nil || header.Session != session {
		return view.Record{}, false
	}
	return view.Record{
		Agent: b.agent, Epoch: b.epoch, No: e.No, Index: b.index,
		Header: json.RawMessage(e.Header), Body: json.RawMessage(e.Body),
	}, true
}

// pieces reads the batches that hold records of a session, one by one.
func (s *Store) pieces(ctx context.Context, agent, session string, from int64) iter.Seq2[*stored, error] {
	return s.each(ctx, selectPieces+" AND log_index >= ?3 ORDER BY log_index", session, agent, from)
}

const selectPieces = `SELECT log_index FROM pieces
	WHERE session = (SELECT key FROM sessions WHERE id = ?1 AND agent = ?2)`

// each reads the batches at the log indexes that a query selects.
func (s *Store) each(ctx context.Context, query string, args ...any) iter.Seq2[*stored, error] {
	return func(yield func(*stored, error) bool) {
		rows, err := s.read.QueryContext(ctx, query, args...)
		if err != nil {
			yield(nil, fmt.Errorf("select batches: %w", err))
			return
		}
		indexes, err := collect(rows, func(row scanner) (index int64, err error) {
			err = row.Scan(&index)
			return index, err
		})
		if err != nil {
			yield(nil, fmt.Errorf("select batches: %w", err))
			return
		}
		for _, index := range indexes {
			b, err := s.leaf(ctx, index)
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// SessionBundle returns what translog.WriteBundle needs to export one session.
func (s *Store) SessionBundle(ctx context.Context, sees view.Scope, session string) (translog.Export, error) {
	v, err := s.Session(ctx, sees, session)
	if err != nil {
		return translog.Export{}, err
	}
	x, err := s.bundle(ctx, translog.Scope{Kind: translog.OneSession, Session: session})
	x.Batches = within(x.Size, s.each(ctx, selectPieces+` UNION SELECT shredding FROM shredded WHERE log_index IN (`+selectPieces+`)
		ORDER BY 1`, session, v.ReportedBy))
	return x, err
}

// SinceBundle returns what translog.WriteBundle needs to export all batches
// from the first that was stored at or after since. From the beginning of
// time it is the whole log.
func (s *Store) SinceBundle(ctx context.Context, since time.Time) (translog.Export, error) {
	var first int64
	err := s.read.QueryRowContext(ctx, `SELECT coalesce(min(log_index), (SELECT coalesce(max(log_index) + 1, 0) FROM batches))
		FROM batches WHERE stored >= ?`, stamp(since)).Scan(&first)
	if err != nil {
		return translog.Export{}, fmt.Errorf("find first batch: %w", err)
	}
	scope := translog.Scope{Kind: translog.Range, First: first}
	if first == 0 {
		scope = translog.Scope{Kind: translog.WholeLog}
	}
	x, err := s.bundle(ctx, scope)
	x.Batches = within(x.Size, s.each(ctx, `SELECT log_index FROM batches WHERE log_index >= ?1
		UNION SELECT log_index FROM shreddings WHERE log_index >= ?1 ORDER BY 1`, first))
	return x, err
}

func (s *Store) bundle(ctx context.Context, scope translog.Scope) (translog.Export, error) {
	size, note, err := s.Checkpoint(ctx)
	return translog.Export{
		Scope: scope, Exported: time.Now().UTC(), Checkpoint: note, Size: size, Hashes: s.Hashes(ctx),
	}, err
}

// within gives the batches below size as translog wants them: what was
// appended after the checkpoint is of the next export.
func within(size int64, batches iter.Seq2[*stored, error]) iter.Seq2[translog.StoredBatch, error] {
	return func(yield func(translog.StoredBatch, error) bool) {
		for b, err := range batches {
			if err != nil {
				yield(translog.StoredBatch{}, err)
				return
			}
			if b.index >= size {
				return
			}
			if !yield(translog.StoredBatch{Index: b.index, Note: b.note, Entries: b.entries}, nil) {
				return
			}
		}
	}
}
