package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
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

// maxScan bounds the records that one search looks at to fill a page: a reader
// who may see little must not keep the database busy.
const maxScan = 5000

// Query is a search among the records of sessions that Sees allows.
type Query struct {
	Sees   view.Scope
	Words  string
	Before int64 // Next of the page before
	Limit  int   // not positive: DefaultLimit
}

// Search returns the newest records that hold all words. A word in double
// quotes stands for the phrase; a word that ends in * for all that begin so.
// Capitals do not matter.
func (s *Store) Search(ctx context.Context, q Query) (view.Found, error) {
	found := view.Found{Hits: []view.Hit{}}
	match := matchQuery(q.Words)
	if match == "" {
		return found, nil
	}
	var err error
	if found.Lag, err = s.awaitWords(ctx, indexWait); err != nil {
		return found, err
	}
	n, before := limit(q.Limit), q.Before
	if before <= 0 {
		before = math.MaxInt64
	}
	for range maxScan/n + 1 {
		places, err := s.matches(ctx, match, before, n)
		if err != nil || len(places) == 0 {
			found.Next = 0
			return found, err
		}
		for _, hit := range s.readHits(ctx, places) {
			if hit.err != nil {
				return found, hit.err
			}
			before, found.Next = hit.place, hit.place
			if hit.ok && q.Sees.Sees(hit.view.Resource, hit.repository) {
				found.Hits = append(found.Hits, hit.view)
			}
			if len(found.Hits) == n {
				return found, nil
			}
		}
		if len(places) < n {
			found.Next = 0
			return found, nil
		}
	}
	return found, nil
}

// matches returns the places of the newest matches before one.
func (s *Store) matches(ctx context.Context, match string, before int64, n int) ([]int64, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT rowid FROM words WHERE words MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?", match, before, n)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	places, err := collect(rows, func(row scanner) (place int64, err error) {
		err = row.Scan(&place)
		return place, err
	})
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return places, nil
}

// hit is what stands at a place.
type hit struct {
	place      int64
	ok         bool // false: it is not there any more, or cannot be read
	view       view.Hit
	repository string
	err        error
}

// readHits reads the records at places, in their order, up to an error.
func (s *Store) readHits(ctx context.Context, places []int64) iter.Seq2[int, hit] {
	return func(yield func(int, hit) bool) {
		var batch *stored
		for i, place := range places {
			h := hit{place: place}
			if index := place >> placeBits; batch == nil || batch.index != index {
				if batch, h.err = s.batch(ctx, index); h.err != nil {
					yield(i, h)
					return
				}
			}
			s.readHit(ctx, batch, &h)
			if !yield(i, h) || h.err != nil {
				return
			}
		}
	}
}

func (s *Store) readHit(ctx context.Context, batch *stored, h *hit) {
	i := int(h.place & (1<<placeBits - 1))
	if i >= len(batch.entries) {
		return
	}
	header, body, err := decode(&batch.entries[i])
	if err != nil {
		return
	}
	session, err := scanKnown(s.read.QueryRowContext(ctx, selectKnown, header.Session, batch.agent))
	if errors.Is(err, sql.ErrNoRows) {
		return
	}
	if err != nil {
		h.err = fmt.Errorf("read session: %w", err)
		return
	}
	h.ok, h.repository = true, session.repository
	h.view = view.Hit{
		Session: header.Session, Resource: session.resource, Operation: header.Operation, Type: string(header.Type),
		Time: header.Time, No: header.No, Index: batch.index, Excerpt: excerpt(&header, &body, session.protocol),
	}
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
