package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/failpoint"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Batch is a batch that ingest has verified: the note is signed by the agent's
// key, and payload and entries are what the note says.
type Batch struct {
	record.Batch
	Note    []byte // signed; the leaf
	Payload []byte // as it was sent
	Entries []record.Entry

	said *said // by the records; see Read
}

// said is what the records of a batch say of sessions and of their agent.
type said struct {
	sums       deltas
	alerts     alerts
	unreadable []string // records that cannot be read, and why
}

// Read reads the records' headers. Append does it when nobody did, but then no
// other batch can be appended meanwhile. Bodies are read when their words are
// indexed.
func (b *Batch) Read() {
	if b.said != nil {
		return
	}
	b.said = &said{}
	var briefs record.BriefReader
	for i := range b.Entries {
		e := &b.Entries[i]
		if brief, ok := briefs.Read(e.Header); ok && brief.No == e.No {
			b.said.sums.brief(&brief)
			continue
		}
		header, err := decodeHeader(e)
		if err != nil {
			b.said.unreadable = append(b.said.unreadable, unreadable(e.No, err))
			continue
		}
		b.said.sums.add(&header)
		b.said.alerts.add(header.Alert)
	}
}

// Placed says where a batch stands in the log.
type Placed struct {
	Agent string
	record.BatchID
	Index int64
}

// Appended is what came of Append.
type Appended struct {
	// Placed has the batches that stand in the log: those that were given, also
	// when they had stood there before, and those that had waited for them.
	Placed []Placed
	// Parked counts those that now wait for one before them; they are durable.
	Parked int
	// Lied counts those whose place in the chain another note of the agent has.
	Lied int
	// Refused counts those that were not kept, because their agent has too many
	// that wait. The agent will send them again.
	Refused int
}

// Append puts batches into the log, with their payloads and what they say of
// sessions, in one durable transaction. A batch that does not follow its
// agent's chain is parked. The same batch again changes nothing.
func (s *Store) Append(ctx context.Context, batches []Batch) (Appended, error) {
	var a *appending
	err := s.change(ctx, func(tx *sql.Tx) (err error) {
		if a, err = s.begin(ctx, tx); err != nil {
			return err
		}
		for i := range batches {
			if err := a.batch(&batches[i]); err != nil {
				return fmt.Errorf("batch %d of %s: %w", batches[i].Seq, batches[i].Agent, err)
			}
		}
		return a.finish()
	})
	if err != nil {
		return Appended{}, fmt.Errorf("append: %w", err)
	}
	for _, b := range a.added {
		s.recent.add(b)
	}
	poke(s.words)
	return a.out, nil
}

// poke wakes whoever waits on a channel of one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// appending is one transaction of Append.
type appending struct {
	store    *Store
	ctx      context.Context //nolint:containedctx // lives for one transaction
	tx       *sql.Tx
	size     int64 // of the log, with what this transaction added
	grown    bool
	added    []*stored // to be remembered for the index
	shredded int64     // the newest shredding
	now      time.Time
	out      Appended
}

func (s *Store) begin(ctx context.Context, tx *sql.Tx) (*appending, error) {
	size, err := logSize(ctx, tx)
	if err != nil {
		return nil, err
	}
	shredded, err := newestShredding(ctx, tx)
	return &appending{store: s, ctx: ctx, tx: tx, size: size, shredded: shredded, now: time.Now()}, err
}

func (a *appending) finish() error {
	if !a.grown {
		return nil
	}
	return a.store.sign(a.ctx, a.tx, a.size)
}

func (a *appending) batch(b *Batch) error {
	index, note, err := a.stored(b)
	if err != nil {
		return err
	}
	if note != nil && bytes.Equal(note, b.Note) {
		a.placed(b, index)
		return nil
	}
	if note != nil {
		return a.lied(b, fmt.Sprintf("leaf %d of the log is another note with the same number; both are signed by the agent", index))
	}
	link, err := a.link(b)
	if err != nil {
		return err
	}
	if link == early {
		return a.park(b)
	}
	if err := a.place(b, link); err != nil {
		return err
	}
	return a.unpark(b.Agent)
}

// stored returns the note that already stands at a batch's place in its chain,
// nil for none.
func (a *appending) stored(b *Batch) (index int64, note []byte, err error) {
	err = a.tx.QueryRow("SELECT log_index, note FROM batches WHERE agent = ? AND epoch = ? AND seq = ?",
		b.Agent, b.Epoch.String(), int64(b.Seq)).Scan(&index, &note)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	return index, note, err
}

func (a *appending) placed(b *Batch, index int64) {
	a.out.Placed = append(a.out.Placed, Placed{Agent: b.Agent, BatchID: b.BatchID, Index: index})
}

// lied keeps the proof that an agent signed two notes for one place.
func (a *appending) lied(b *Batch, detail string) error {
	a.out.Lied++
	if err := quarantine(a.tx, b.Agent, Equivocation, b.Note, b.Payload); err != nil {
		return err
	}
	return a.finding(b, Equivocation, detail)
}

func (a *appending) finding(b *Batch, code, detail string) error {
	return addFinding(a.tx, view.Finding{
		At: a.now, Agent: b.Agent, Epoch: b.Epoch.String(), Seq: b.Seq, Code: code, Detail: detail,
	})
}

// place makes the batch the next leaf.
func (a *appending) place(b *Batch, link link) error {
	index := a.size
	size, err := translog.Append(a.size, [][]byte{b.Note}, nodes{a.ctx, a.tx, nil})
	if err != nil {
		return err
	}
	_, err = a.tx.Exec("INSERT INTO batches (log_index, agent, epoch, seq, stored, note, payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
		index, b.Agent, b.Epoch.String(), int64(b.Seq), stamp(a.now), b.Note, notNull(b.Payload))
	if err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	a.size, a.grown = size, true
	failpoint.Here("store.leaf")
	a.placed(b, index)
	if err := a.chain(b, link, index); err != nil {
		return err
	}
	if err := a.derive(b, index); err != nil {
		return err
	}
	a.added = append(a.added, &stored{
		index: index, agent: b.Agent, epoch: b.Epoch.String(), seq: b.Seq,
		entries: b.Entries, shredded: a.shredded,
	})
	return nil
}

// derive updates the tables that follow from the records.
func (a *appending) derive(b *Batch, index int64) error {
	b.Read()
	sums, alerts := &b.said.sums, &b.said.alerts
	for _, what := range b.said.unreadable {
		if err := a.finding(b, RecordUnreadable, what); err != nil {
			return err
		}
	}
	for _, kind := range alerts.kinds {
		if err := a.finding(b, AlertPrefix+kind, alerts.detail[kind]); err != nil {
			return err
		}
	}
	if err := sums.describe(a.tx, b.Agent, b.Epoch.String()); err != nil {
		return err
	}
	for _, d := range sums.order {
		if err := a.session(b, d, index); err != nil {
			return err
		}
	}
	for _, h := range sums.approvals {
		if h.Type != record.ApprovalSettled {
			continue
		}
		if err := settle(a.tx, b.Agent, h.Approval.ID, h.Approval.State); err != nil {
			return err
		}
	}
	return nil
}

func unreadable(no uint64, err error) string { return fmt.Sprintf("record %d: %v", no, err) }

func (a *appending) session(b *Batch, d *delta, index int64) error {
	key, err := d.apply(a.tx, b.Agent, b.Epoch.String())
	if err != nil {
		return err
	}
	if _, err := a.tx.Exec("INSERT INTO pieces VALUES (?, ?) ON CONFLICT DO NOTHING", key, index); err != nil {
		return fmt.Errorf("write piece: %w", err)
	}
	if d.opened == nil {
		return nil
	}
	var others int
	if err := a.tx.QueryRow("SELECT count(*) FROM sessions WHERE id = ? AND agent <> ?", d.id, b.Agent).Scan(&others); err != nil {
		return err
	}
	if others == 0 {
		return nil
	}
	return a.finding(b, SessionReused, "session "+view.OneLine(d.id, 64)+" is also another agent's")
}
