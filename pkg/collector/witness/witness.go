// Package witness records what people see and do at the collector, in the same
// transparency log as what jobs do.
//
// The collector is an agent of its own here: it has a signing key, epochs and
// a chain of batch notes, and verifiers check them like any other's. Record
// returns when the record is durable, so that nothing is shown or done before
// it is on the record. What one collector signs about itself does not prove
// that it signed all: a program that was taken over can leave out what it
// does. But it cannot take back what it said.
package witness

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Name is the agent's name that the collector's own chain has. No agent can be
// enrolled by it.
const Name = "collector"

const (
	heartbeatEvery = 30 * time.Second // docs/audit-format.md: longer silence is a finding
	maxBatch       = 512              // acts that one note signs at most
	sealTime       = 5 * time.Second
)

// ErrStopped reports that nothing is recorded any more.
var ErrStopped = errors.New("the collector is stopping")

// Config is what a Witness works with. All fields are required.
type Config struct {
	Store   *store.Store
	Cluster string
	Signer  *translog.Signer
	Log     *zap.Logger
}

// Act is what somebody is about to see or do.
type Act struct {
	record.Person
	About string
}

// Witness records acts. Record is safe for concurrent use while Run runs.
type Witness struct {
	cfg    Config
	packer record.Packer
	salter *record.Salter
	queue  chan entry
	done   chan struct{} // closed when Run returns

	began time.Time
	next  record.Batch // what the next note continues; Run owns it
}

type entry struct {
	act  Act
	at   time.Time
	kept chan error
}

// New begins an epoch that continues what the store holds of the epoch before.
func New(ctx context.Context, cfg Config) (*Witness, error) {
	end, found, err := cfg.Store.ChainEnd(ctx, Name)
	if err != nil {
		return nil, err
	}
	w := &Witness{cfg: cfg, queue: make(chan entry, maxBatch), done: make(chan struct{}), began: time.Now()}
	w.next = record.Batch{Cluster: cfg.Cluster, Agent: Name, Reason: record.Boot, Clock: record.Unsynced}
	_, _ = rand.Read(w.next.Epoch[:]) // never fails: crypto/rand ends the program instead
	if found {
		w.next.PrevEpoch, w.next.Prev = end.Epoch, end.Hash
		if !end.Sealed {
			w.next.Reason = record.Recover
		}
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	w.salter = record.NewSalter(secret)
	return w, nil
}

// Record returns when an act is durably on the record. On an error it must not
// happen.
func (w *Witness) Record(ctx context.Context, act Act) error {
	e := entry{act, time.Now(), make(chan error, 1)}
	select {
	case w.queue <- e:
	case <-w.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-e.kept:
		return err
	case <-w.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run writes acts until ctx ends, and seals the chain.
func (w *Witness) Run(ctx context.Context) error {
	defer close(w.done)
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	if err := w.append(context.WithoutCancel(ctx), nil, false); err != nil {
		return fmt.Errorf("begin the collector's own chain: %w", err)
	}
	for {
		select {
		case first := <-w.queue:
			w.write(ctx, w.gather(first))
		case <-tick.C:
			if err := w.append(ctx, nil, false); err != nil && ctx.Err() == nil {
				w.cfg.Log.Error("The collector's own chain has no heartbeat", zap.Error(err))
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), sealTime)
			defer cancel()
			return w.append(last, nil, true)
		}
	}
}

// gather takes what waits already: acts that come together share a note and a
// sync of the disk.
func (w *Witness) gather(first entry) []entry {
	all := []entry{first}
	for len(all) < maxBatch {
		select {
		case e := <-w.queue:
			all = append(all, e)
		default:
			return all
		}
	}
	return all
}

func (w *Witness) write(ctx context.Context, acts []entry) {
	err := w.append(ctx, acts, false)
	if err != nil {
		w.cfg.Log.Error("What people do cannot be recorded", zap.Int("acts", len(acts)), zap.Error(err))
		err = fmt.Errorf("record the act: %w", err)
	}
	for _, e := range acts {
		e.kept <- err
	}
}

// append signs the next note and puts it into the log. When that fails nothing
// has changed.
func (w *Witness) append(ctx context.Context, acts []entry, seal bool) error {
	entries := make([]record.Entry, len(acts))
	leaves := make([]record.Hash, len(acts))
	for i := range acts {
		var err error
		if entries[i], err = w.entry(&acts[i], w.next.First+uint64(i)); err != nil {
			return err
		}
		leaves[i] = entries[i].Leaf()
	}
	payload, err := w.packer.Pack(entries)
	if err != nil {
		return err
	}
	b := w.next
	b.Count, b.Root, b.Seal = uint64(len(entries)), record.Root(leaves), seal
	b.Payload, b.PayloadLen = sha256.Sum256(payload), int64(len(payload))
	b.From, b.To = time.Now().UnixMilli(), time.Now().UnixMilli()
	if len(acts) > 0 {
		b.From, b.To = acts[0].at.UnixMilli(), acts[len(acts)-1].at.UnixMilli()
	}
	note, err := translog.SignBatch(&b, w.cfg.Signer)
	if err != nil {
		return err
	}
	done, err := w.cfg.Store.Append(ctx, []store.Batch{{Batch: b, Note: note, Payload: payload, Entries: entries}})
	if err != nil {
		return err
	}
	if len(done.Placed) != 1 {
		return errors.New("the log has another chain of the collector's")
	}
	w.next.Seq, w.next.First, w.next.Prev = b.Seq+1, b.First+b.Count, record.NoteHash(note)
	return nil
}

// maxAbout bounds what is kept of what an act was about, in bytes.
const maxAbout = 4 << 10

func (w *Witness) entry(e *entry, no uint64) (record.Entry, error) {
	person := e.act.Person
	header, err := record.AppendHeader(nil, &record.Header{
		No: no, Type: record.PersonActed, Time: e.at.UTC(), Mono: int64(e.at.Sub(w.began)), Person: &person,
	})
	if err != nil {
		return record.Entry{}, err
	}
	about := e.act.About
	if len(about) > maxAbout {
		about = about[:maxAbout]
	}
	body, err := record.AppendBody(nil, &record.Body{Text: about})
	if err != nil {
		return record.Entry{}, err
	}
	return record.Entry{No: no, Header: header, Body: body, Salt: w.salter.Salt(no)}, nil
}
