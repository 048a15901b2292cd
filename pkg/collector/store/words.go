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
const wordsPerChange = 2

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
	batches := s.recent.take(next, wordsPerChange, shredded)
	if len(batches) == 0 {
		batches, err = s.batches(ctx, next, wordsPerChange)
	}
	if err != nil || len(batches) == 0 {
		return false, err
	}
	err = s.change(ctx, func(tx *sql.Tx) error {
		if now, err := newestShredding(ctx, tx); err != nil || now != shredded {
			return err // what was read may have been destroyed since
		}
		w := newWording(tx)
		for _, batch := range batches {
			if err := w.batch(batch); err != nil {
				return fmt.Errorf("batch %d: %w", batch.index, err)
			}
		}
		return setMeta(tx, "indexed", batches[len(batches)-1].index+1)
	})
	return true, err
}

// newestShredding returns the leaf of the newest shredding, -1 for none.
func newestShredding(ctx context.Context, db querier) (index int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(log_index), -1) FROM shreddings").Scan(&index)
	return index, err
}

// about is what the words of a session's records need of it.
type about struct{ resource, protocol, repository string }

const selectAbout = "SELECT resource, protocol, repository FROM sessions WHERE id = ? AND agent = ?"

func scanAbout(row scanner) (a about, err error) {
	err = row.Scan(&a.resource, &a.protocol, &a.repository)
	return a, err
}

// groupSize is how many records of a batch share a row of the index. They are
// mostly alike, so that a group has not many more words than one of them, and
// the index need not know which has which: who searches reads the group.
const groupSize = 32

// placeBits is how many bits of a record's place tell it from others of its
// batch.
const placeBits = 13

// No batch has more records than that tells apart.
const _ = uint(1<<placeBits - record.MaxRecords)

// placeOf returns the place of a record. Newer records have higher ones. A
// group's rowid is the place of its first.
func placeOf(index int64, record int) int64 { return index<<placeBits | int64(record) }

// wording is one transaction in which words are indexed.
type wording struct {
	tx       *sql.Tx
	sessions map[string]about // by agent and id
}

func newWording(tx *sql.Tx) *wording { return &wording{tx: tx, sessions: map[string]about{}} }

func (w *wording) batch(b *stored) error {
	for from := 0; from < len(b.entries); from += groupSize {
		words, err := w.group(b, from, w.unreadable)
		if err != nil {
			return err
		}
		if words == "" {
			continue
		}
		if _, err := w.tx.Exec("INSERT INTO words (rowid, text) VALUES (?, ?)", placeOf(b.index, from), words); err != nil {
			return err
		}
	}
	return nil
}

// group returns the words of the group that begins with a record of a batch,
// each once, as the index has them. What cannot be read is told to unreadable.
func (w *wording) group(b *stored, from int, unreadable func(b *stored, no uint64, err error) error) (string, error) {
	var all strings.Builder
	seen := map[string]bool{}
	for i := from; i < min(from+groupSize, len(b.entries)); i++ {
		header, body, err := b.read(i)
		if err != nil {
			if err := unreadable(b, b.entries[i].No, err); err != nil {
				return "", err
			}
			continue
		}
		words, err := w.words(b.agent, &header, &body)
		if err != nil {
			return "", err
		}
		for _, word := range words {
			if word = indexed(word); !seen[word] {
				seen[word] = true
				all.WriteString(word)
				all.WriteByte(' ')
			}
		}
	}
	return all.String(), nil
}

// words returns the words of one record, none for one of no session.
func (w *wording) words(agent string, h *record.Header, body *record.Body) ([]string, error) {
	if h.Session == "" {
		return nil, nil
	}
	session, err := w.session(agent, h.Session)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return wordsOf(h, body, session.protocol), nil
}

// wordsOf returns the words of a record, in their order.
func wordsOf(h *record.Header, body *record.Body, protocol string) []string {
	text, ok := document(h, body, protocol)
	if !ok {
		return nil
	}
	return split(fold(text))
}

func (w *wording) unreadable(b *stored, no uint64, err error) error {
	return addFinding(w.tx, view.Finding{
		At: time.Now(), Agent: b.agent, Epoch: b.epoch, Seq: b.seq, Code: RecordUnreadable, Detail: unreadable(no, err),
	})
}

func (w *wording) session(agent, id string) (about, error) {
	name := agent + " " + id
	if k, ok := w.sessions[name]; ok {
		return k, nil
	}
	k, err := scanAbout(w.tx.QueryRow(selectAbout, id, agent))
	if err == nil {
		w.sessions[name] = k
	}
	return k, err
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
