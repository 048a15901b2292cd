package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
)

// indexEvery is how long words may wait to be indexed while nobody searches:
// many together cost less than one batch after the other.
const indexEvery = time.Second

// IndexWords indexes the words of stored batches until ctx ends. One
// goroutine runs it; Search waits for it.
func (s *Store) IndexWords(ctx context.Context) error {
	for {
		more, err := s.indexSome(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("index words: %w", err)
		}
		if more {
			continue
		}
		select {
		case <-s.words:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-s.searched:
		case <-time.After(indexEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// wordsPerChange bounds the batches whose words are indexed in one
// transaction: while it runs, nothing can be appended.
const wordsPerChange = 4

// indexSome indexes the next few batches and reports whether there may be
// more.
func (s *Store) indexSome(ctx context.Context) (more bool, err error) {
	next, err := readIndexed(ctx, s.read)
	if err != nil {
		return false, err
	}
	shredded, err := newestShredding(ctx, s.read)
	if err != nil {
		return false, err
	}
	batches, err := s.batches(ctx, next, wordsPerChange)
	if err != nil || len(batches) == 0 {
		return false, err
	}
	again := false
	err = s.change(ctx, func(tx *sql.Tx) error {
		if now, err := newestShredding(ctx, tx); err != nil || now != shredded {
			again = true // what was read may have been destroyed since
			return err
		}
		w, err := newWording(tx)
		if err != nil {
			return err
		}
		for _, batch := range batches {
			if err := w.batch(batch); err != nil {
				return fmt.Errorf("batch %d: %w", batch.index, err)
			}
		}
		if err := w.flush(); err != nil {
			return err
		}
		return setMeta(tx, "indexed", batches[len(batches)-1].index+1)
	})
	return again || len(batches) == wordsPerChange, err
}

// newestShredding returns the leaf of the newest shredding, -1 for none.
func newestShredding(ctx context.Context, db querier) (index int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(log_index), -1) FROM shreddings").Scan(&index)
	return index, err
}

// known is what the words of a session's records need of it.
type known struct{ resource, protocol, repository string }

const selectKnown = "SELECT resource, protocol, repository FROM sessions WHERE id = ? AND agent = ?"

func scanKnown(row scanner) (k known, err error) {
	err = row.Scan(&k.resource, &k.protocol, &k.repository)
	return k, err
}

// rowsAtOnce is how many rows one statement writes under load: a statement
// costs more than a row. FTS5 writes what it has gathered at the end of each
// statement of several rows, so that few of them have to be merged when they
// are long.
const rowsAtOnce = 512

// placeBits is how many bits of a word's rowid tell the record of a batch.
const placeBits = 13

// No batch has more records than that tells apart.
const _ = uint(1<<placeBits - record.MaxRecords)

// placeOf returns the rowid of a record's words. Newer records have higher
// ones.
func placeOf(index int64, record int) int64 { return index<<placeBits | int64(record) }

// wording is one transaction of IndexWords. Its statements end with it.
type wording struct {
	tx       *sql.Tx
	one      *sql.Stmt
	many     *sql.Stmt        // of rowsAtOnce; nil until there are so many
	rows     []any            // not written yet: places and texts
	sessions map[string]known // by agent and id
}

const insertWords = "INSERT INTO words (rowid, text) VALUES (?, ?)"

func newWording(tx *sql.Tx) (*wording, error) {
	one, err := tx.Prepare(insertWords)
	return &wording{tx: tx, one: one, sessions: map[string]known{}}, err
}

func (w *wording) batch(b *stored) error {
	for i := range b.entries {
		header, body, err := decode(&b.entries[i])
		if err != nil {
			if err := w.unreadable(b, b.entries[i].No, err); err != nil {
				return err
			}
			continue
		}
		if header.Session == "" {
			continue
		}
		session, err := w.session(b.agent, header.Session)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		text, ok := document(&header, &body, session.protocol)
		if !ok {
			continue
		}
		if err := w.add(placeOf(b.index, i), text); err != nil {
			return err
		}
	}
	return nil
}

func (w *wording) unreadable(b *stored, no uint64, err error) error {
	return addFinding(w.tx, view.Finding{
		At: time.Now(), Agent: b.agent, Epoch: b.epoch, Seq: b.seq, Code: RecordUnreadable, Detail: unreadable(no, err),
	})
}

func (w *wording) session(agent, id string) (known, error) {
	name := agent + " " + id
	if k, ok := w.sessions[name]; ok {
		return k, nil
	}
	k, err := scanKnown(w.tx.QueryRow(selectKnown, id, agent))
	if err == nil {
		w.sessions[name] = k
	}
	return k, err
}

func (w *wording) add(place int64, text string) (err error) {
	w.rows = append(w.rows, place, text)
	if len(w.rows) < 2*rowsAtOnce {
		return nil
	}
	if w.many == nil {
		if w.many, err = w.tx.Prepare(insertWords + strings.Repeat(", (?, ?)", rowsAtOnce-1)); err != nil {
			return err
		}
	}
	_, err = w.many.Exec(w.rows...)
	w.rows = w.rows[:0]
	return err
}

// flush writes the rows that are left.
func (w *wording) flush() error {
	for row := range slices.Chunk(w.rows, 2) {
		if _, err := w.one.Exec(row...); err != nil {
			return err
		}
	}
	return nil
}

// document returns what a record has to search, and whether it has anything.
func document(h *record.Header, body *record.Body, protocol string) (string, bool) {
	switch {
	case h.Intent != nil:
		return intentWords(h.Intent, body), true
	case h.Chunk != nil && h.Chunk.Stream == "response", h.Outcome != nil && h.Outcome.Chunk != nil:
		text := view.Words(protocol, view.Data(body))
		return text, strings.TrimSpace(text) != ""
	case h.Chunk != nil:
		return view.Printable(string(view.Data(body))), body.Text != "" || body.Bytes != nil
	case h.Opened != nil:
		return openedWords(h), true
	case h.Approval != nil:
		a := h.Approval
		return strings.Join([]string{a.State, a.Rule, a.Approver, a.Reason, a.ID}, " "), true
	}
	return "", false
}

// excerpt returns what is shown of a record that was found: of a statement
// its text, of a session who opened it, of all others their words.
func excerpt(h *record.Header, body *record.Body, protocol string) string {
	if h.Intent != nil {
		return view.OneLine(string(view.Data(body)), excerptRunes)
	}
	if h.Opened != nil {
		w := &h.Opened.Workload
		who := append([]string{"opened by", w.Orch.Name, w.Orch.Image, w.Kernel.Exe}, w.Claimed.Command...)
		return view.OneLine(strings.Join(who, " "), excerptRunes)
	}
	text, _ := document(h, body, protocol)
	return view.OneLine(text, excerptRunes)
}

func intentWords(in *record.Intent, body *record.Body) string {
	var b strings.Builder
	b.Write(view.Data(body))
	for _, p := range body.Params {
		if p.Text != nil {
			b.WriteString(" " + *p.Text)
		}
	}
	for _, s := range in.Statements {
		b.WriteString(" " + s.Kind + " " + strings.Join(s.Relations, " "))
	}
	for _, more := range []string{in.Database, in.Role, in.Effect, in.Rule, in.Decider} {
		b.WriteString(" " + more)
	}
	return b.String()
}

// openedWords makes every fact about who opened a session searchable, the
// leaves of its JSON without their keys.
func openedWords(h *record.Header) string {
	words := []string{h.Opened.ID, h.Opened.Resource, h.Opened.Protocol, h.Opened.Destination.String()}
	raw, err := json.Marshal(h.Opened.Workload)
	if err != nil {
		return strings.Join(words, " ")
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err == nil {
		words = leaves(words, tree)
	}
	return strings.Join(words, " ")
}

func leaves(words []string, node any) []string {
	switch node := node.(type) {
	case string:
		return append(words, node)
	case []any:
		for _, child := range node {
			words = leaves(words, child)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			words = leaves(words, node[key])
		}
	}
	return words
}
