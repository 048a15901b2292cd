package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
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
	agent    string // whose sessions are remembered
	sessions map[string]about
	words    groupWords
	briefs   record.BriefReader
	texts    record.Texts

	response, spoken []byte // memory
}

func newWording(tx *sql.Tx) *wording { return &wording{tx: tx} }

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
	w.words.begin()
	for i := from; i < min(from+groupSize, len(b.entries)); i++ {
		e := &b.entries[i]
		done, err := w.usual(b.agent, e)
		if err != nil {
			return "", err
		}
		if done {
			continue
		}
		header, body, err := decode(e)
		if err != nil {
			err = unreadable(b, e.No, err)
		} else {
			err = w.any(b.agent, &header, &body)
		}
		if err != nil {
			return "", err
		}
	}
	return string(w.words.all), nil
}

// usual adds the words of a record of an operation, without memory for any of
// it, and returns false for all others, of which it adds none.
func (w *wording) usual(agent string, e *record.Entry) (bool, error) {
	brief, ok := w.briefs.Read(e.Header)
	if !ok || brief.No != e.No || !w.texts.Read(e.Body) {
		return false, nil
	}
	if len(brief.Session) == 0 {
		return true, nil
	}
	session, err := w.session(agent, brief.Session)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return true, nil
	case err != nil:
		return false, err
	case brief.Type == record.OperationIntent:
		return w.intent(e, &brief), nil
	case brief.Stream == nil:
		return true, nil
	case brief.Type == record.OperationChunk && string(brief.Stream) != "response":
		return false, nil
	}
	if w.response, err = base64.StdEncoding.AppendDecode(w.response[:0], w.texts.Base64); err != nil {
		return false, nil //nolint:nilerr // decode says what is wrong with it
	}
	if len(w.texts.Base64) == 0 {
		w.response = append(w.response, w.texts.Text...)
	}
	w.spoken = view.AppendWords(w.spoken[:0], session.protocol, w.response)
	w.words.after(&w.words.response, w.spoken)
	return true, nil
}

// intent adds the words of a statement. What stands in the header says the same of
// most statements of a group, and is read once.
func (w *wording) intent(e *record.Entry, brief *record.Brief) bool {
	if len(w.texts.Base64) > 0 {
		return false
	}
	if !w.words.parts[string(brief.Part)] {
		header, err := decodeHeader(e)
		if err != nil {
			return false // decode says what is wrong with it
		}
		w.words.parts[string(brief.Part)] = true
		w.words.text([]byte(intentWords(header.Intent, &record.Body{})))
	}
	w.words.after(&w.words.statement, w.texts.Text)
	for _, p := range w.texts.Params {
		w.words.text(p)
	}
	return true
}

// any adds the words of a record, none for one of no session.
func (w *wording) any(agent string, h *record.Header, body *record.Body) error {
	if h.Session == "" {
		return nil
	}
	session, err := w.session(agent, []byte(h.Session))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if text, ok := document(h, body, session.protocol); ok {
		w.words.text([]byte(text))
	}
	return nil
}

// wordsOf returns the words of a record, in their order.
func wordsOf(h *record.Header, body *record.Body, protocol string) []string {
	text, ok := document(h, body, protocol)
	if !ok {
		return nil
	}
	return split(fold(text))
}

func (w *wording) session(agent string, id []byte) (about, error) {
	if w.agent != agent || w.sessions == nil {
		w.agent, w.sessions = agent, map[string]about{}
	}
	if k, ok := w.sessions[string(id)]; ok {
		return k, nil
	}
	k, err := scanAbout(w.tx.QueryRow(selectAbout, string(id), agent))
	if err == nil {
		w.sessions[string(id)] = k
	}
	return k, err
}

func (w *wording) unreadable(b *stored, no uint64, err error) error {
	return addFinding(w.tx, view.Finding{
		At: time.Now(), Agent: b.agent, Epoch: b.epoch, Seq: b.seq, Code: RecordUnreadable, Detail: unreadable(no, err),
	})
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
		who := append([]string{"opened by", w.Orch.FullName(), w.Orch.Image, w.Kernel.Exe}, w.Claimed.Command...)
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
	if in.Kube != nil { // its command is percent-encoded in the text
		b.WriteString(" " + in.Kube.Operation(operation.Text(view.Data(body))).Summary())
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
	if h.Opened.Parent != nil {
		words = append(words, h.Opened.Parent.Session)
	}
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
