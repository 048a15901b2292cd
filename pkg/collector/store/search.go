package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// indexWait is how long a search waits for the words of what was stored before
// it began.
const indexWait = 2 * time.Second

// excerptRunes is the length of a hit's excerpt.
const excerptRunes = 200

// Search returns the newest records that hold all words. A word in double
// quotes stands for the phrase; a word that ends in * for all that begin so.
// Capitals do not matter. lag is the number of batches that are stored but
// not yet indexed.
func (s *Store) Search(ctx context.Context, words string, n int) (hits []view.Hit, lag int64, err error) {
	query := matchQuery(words)
	if query == "" {
		return []view.Hit{}, 0, nil
	}
	if lag, err = s.awaitWords(ctx, indexWait); err != nil {
		return nil, 0, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT ?", query, limit(n))
	if err != nil {
		return nil, 0, fmt.Errorf("search: %w", err)
	}
	places, err := collect(rows, func(row scanner) (place int64, err error) {
		err = row.Scan(&place)
		return place, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("search: %w", err)
	}
	hits, err = s.hits(ctx, places)
	return hits, lag, err
}

// hits reads the records at places. One that is not there any more, or cannot
// be read, is passed over.
func (s *Store) hits(ctx context.Context, places []int64) ([]view.Hit, error) {
	hits := make([]view.Hit, 0, len(places))
	var batch *stored
	for _, p := range places {
		index, i := p>>placeBits, int(p&(1<<placeBits-1))
		if batch == nil || batch.index != index {
			var err error
			if batch, err = s.batch(ctx, index); err != nil {
				return nil, err
			}
		}
		if i >= len(batch.entries) {
			continue
		}
		header, body, err := decode(&batch.entries[i])
		if err != nil {
			continue
		}
		session, err := scanKnown(s.read.QueryRowContext(ctx, selectKnown, header.Session, batch.agent))
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read session: %w", err)
		}
		hits = append(hits, view.Hit{
			Session: header.Session, Resource: session.resource, Operation: header.Operation, Type: string(header.Type),
			Time: header.Time, No: header.No, Index: index, Excerpt: excerpt(&header, &body, session.protocol),
		})
	}
	return hits, nil
}

// matchQuery turns what a person typed into an FTS5 query in which nothing is
// an operator but the trailing star. It is empty when there is no word.
func matchQuery(words string) string {
	var terms []string
	add := func(text string, quoted bool) {
		prefix := !quoted && strings.HasSuffix(text, "*")
		if strings.IndexFunc(text, isWord) < 0 {
			return
		}
		term := `"` + strings.ReplaceAll(strings.TrimRight(text, "*"), `"`, `""`) + `"`
		if prefix {
			term += "*"
		}
		terms = append(terms, term)
	}
	for i, part := range strings.Split(strings.ReplaceAll(words, "\x00", " "), `"`) {
		if i%2 == 1 {
			add(part, true)
			continue
		}
		for _, word := range strings.Fields(part) {
			add(word, false)
		}
	}
	return strings.Join(terms, " AND ")
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_' || r == '$'
}

// awaitWords waits until all that is stored now is indexed, at most for wait,
// and returns how many batches are missing.
func (s *Store) awaitWords(ctx context.Context, wait time.Duration) (lag int64, err error) {
	size, err := s.Size(ctx)
	if err != nil {
		return 0, err
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
