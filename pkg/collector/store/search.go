package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// indexWait is how long a search waits for the words of what was stored before
// it began.
const indexWait = 2 * time.Second

// excerptRunes is the length of a hit's excerpt.
const excerptRunes = 200

// maxScan bounds the groups of records that one search looks at to fill a page:
// a reader who may see little must not keep the database busy.
const maxScan = 500

// Query is a search among the records of sessions that Sees allows.
type Query struct {
	Sees   view.Scope
	Words  string
	Before int64 // Next of the page before
	Limit  int   // not positive: DefaultLimit
}

// Search returns the newest records that hold all words. A word in double
// quotes stands for the phrase; a word that ends in * for all that begin so.
// Capitals and accents do not matter. A page can be short, and still have a
// next one.
func (s *Store) Search(ctx context.Context, q Query) (view.Found, error) {
	found := view.Found{Hits: []view.Hit{}}
	all := readTerms(q.Words)
	if len(all) == 0 {
		return found, nil
	}
	var err error
	if found.Lag, err = s.awaitWords(ctx, indexWait); err != nil {
		return found, err
	}
	l := looking{store: s, sees: q.Sees, terms: all, before: q.Before, limit: limit(q.Limit), found: &found}
	if l.before <= 0 {
		l.before = math.MaxInt64
	}
	return found, l.look(ctx, match(all))
}

// looking is one search.
type looking struct {
	store  *Store
	sees   view.Scope
	terms  []term
	before int64 // the place that everything found stands before
	limit  int
	found  *view.Found

	batch    *stored // the one that was read last
	sessions map[string]about
}

// look reads the groups that the index names, the newest first, until a page is
// full or enough was looked at.
func (l *looking) look(ctx context.Context, match string) error {
	for looked := 0; looked < maxScan; {
		groups, err := l.store.matches(ctx, match, l.before, l.limit)
		if err != nil {
			return err
		}
		for _, group := range groups {
			if full, err := l.group(ctx, group); err != nil || full {
				return err
			}
		}
		if len(groups) < l.limit {
			l.found.Next = 0
			return nil
		}
		looked += len(groups)
	}
	return nil
}

// matches returns the newest groups that begin before a place and may hold
// what is looked for.
func (s *Store) matches(ctx context.Context, match string, before int64, n int) ([]int64, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT rowid FROM words WHERE words MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?", match, before, n)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	groups, err := collect(rows, func(row scanner) (place int64, err error) {
		err = row.Scan(&place)
		return place, err
	})
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return groups, nil
}

// group adds what a group holds to the page, the newest first, and reports
// whether the page is full.
func (l *looking) group(ctx context.Context, group int64) (full bool, err error) {
	if index := group >> placeBits; l.batch == nil || l.batch.index != index {
		if l.batch, err = l.store.batch(ctx, index); err != nil {
			return false, err
		}
		l.sessions = map[string]about{}
	}
	first := int(group & (1<<placeBits - 1))
	for i := min(first+groupSize, len(l.batch.entries)) - 1; i >= first; i-- {
		place := placeOf(l.batch.index, i)
		if place >= l.before {
			continue
		}
		if err := l.record(ctx, i); err != nil {
			return false, err
		}
		l.before, l.found.Next = place, place
		if len(l.found.Hits) == l.limit {
			return true, nil
		}
	}
	l.before, l.found.Next = group, group // what is left of the group was seen on the page before
	return false, nil
}

// record adds a record of the batch to the page, if it is looked for and may be
// seen.
func (l *looking) record(ctx context.Context, i int) error {
	header, body, err := decode(&l.batch.entries[i])
	if err != nil || header.Session == "" {
		return nil //nolint:nilerr // it has no words
	}
	session, ok := l.sessions[header.Session]
	if !ok {
		session, err = scanAbout(l.store.read.QueryRowContext(ctx, selectAbout, header.Session, l.batch.agent))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read session: %w", err)
		}
		l.sessions[header.Session] = session
	}
	if !l.sees.Sees(session.resource, session.repository) {
		return nil
	}
	words := wordsOf(&header, &body, session.protocol)
	for t := range l.terms {
		if !l.terms[t].in(words) {
			return nil
		}
	}
	l.found.Hits = append(l.found.Hits, view.Hit{
		Session: header.Session, Resource: session.resource, Operation: header.Operation, Type: string(header.Type),
		Time: header.Time, No: header.No, Index: l.batch.index, Excerpt: excerpt(&header, &body, session.protocol),
	})
	return nil
}

// awaitWords waits until all that is stored now is indexed, at most for wait,
// and returns how many batches are missing.
func (s *Store) awaitWords(ctx context.Context, wait time.Duration) (lag int64, err error) {
	var size int64
	err = s.read.QueryRowContext(ctx, "SELECT coalesce(max(log_index) + 1, 0) FROM batches").Scan(&size)
	if err != nil {
		return 0, fmt.Errorf("read index position: %w", err)
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		indexed, err := readIndexed(ctx, s.read)
		if err != nil || indexed >= size {
			return 0, err
		}
		poke(s.searched)
		select {
		case <-tick.C:
		case <-deadline.C:
			return size - indexed, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// readIndexed returns the log index of the first batch whose words are not
// indexed.
func readIndexed(ctx context.Context, db querier) (next int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(value), 0) FROM meta WHERE key = 'indexed'").Scan(&next)
	if err != nil {
		return 0, fmt.Errorf("read index position: %w", err)
	}
	return next, nil
}
