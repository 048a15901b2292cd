// Package audit turns what happens in sessions into records, and hands them to
// the collector as signed batches.
//
// It promises that a record is in the spool when the call that makes it
// returns nil: it survives the death of the agent, and a power loss too when
// it was asked to be durable. From there it is batched, signed, published and
// sent again until the collector proves with a receipt that it is in the
// transparency log; only then is its space given up. When the spool cannot
// take a record the call is an error, and whoever made it must refuse.
//
// The package decides nothing about operations, masks nothing, and never
// writes statement text or values to the program's log. It does not watch
// whether what it is told is true.
package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/failpoint"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// ErrSealed reports a record after the log was sealed.
var ErrSealed = errors.New("the audit log is sealed")

// Config says what a Log writes, and where to.
type Config struct {
	Spool         *spool.Spool       // stays the caller's, who closes it after Run
	Signer        *translog.Signer   // its name is translog.AgentKeyName
	Collector     *translog.Verifier // the key of the collector's log
	Cluster       string             // [A-Za-z0-9_-]+
	Agent         string             // [A-Za-z0-9_-]+
	About         record.Agent       // for the record that opens the epoch, or that says who carries it on
	Baton         *Baton             // the epoch to carry on; nil begins one
	ResponseLimit int64              // bytes of each operation's streams that are kept whole; 0 means 64 KiB
	Remote        bool               // what must be durable waits for the collector's receipt, too
	OnFull        OnFull             // what becomes of an operation whose record finds no room; refused when empty
	Publish       PublishFunc        // hands a batch to the bus
	Sync          SyncFunc           // asks the collector for a receipt
	Log           *zap.Logger
}

// OnFull says what becomes of an operation whose record finds no room.
type OnFull string

// What OnFull can be.
const (
	Refuse  OnFull = "refuse"
	Forward OnFull = "forward" // without a record; how many is stated, and is a finding
)

// PublishFunc hands a signed note and its payload to the bus. nil means that
// the bus took it, no more.
type PublishFunc func(ctx context.Context, note, payload []byte) error

// SyncFunc sends an encoded translog.SyncRequest to the collector and returns
// the receipt that it answers with.
type SyncFunc func(ctx context.Context, request []byte) (receipt []byte, err error)

// The kinds of entry in the spool.
const (
	epochEntry  spool.Kind = iota + 1 // head: epochStart in JSON
	recordEntry                       // head: stamp and the record's header; rest: its body
	batchEntry                        // head: the signed note; rest: the payload
	ackEntry                          // head: []record.BatchID in JSON
	seenEntry                         // head: a checkpoint that was verified, signed
)

// defaultResponseLimit is what audit.response_limit is when nobody says.
const defaultResponseLimit = 64 << 10

// Log is one agent's chain of records. It is safe for concurrent use.
type Log struct {
	cfg   Config
	start time.Time // of the epoch, for Mono
	epoch record.Epoch
	kick  chan struct{} // the batcher has enough for a batch
	again chan struct{} // the sender should sync now

	made  chan struct{} // the sender has batches to publish
	idle  chan struct{} // every batch has its receipt
	stuck chan struct{} // the bus did not take a batch

	leaving chan struct{} // closed by HandOver
	left    chan struct{} // closed when Run has returned

	write   writer  // the path of every record
	batcher batcher // the batching goroutine's

	mu     sync.Mutex
	chain  chain  // guarded by mu
	doubts doubts // guarded by mu

	received uint64        // guarded by mu; the collector has every record of this epoch before it
	grown    chan struct{} // guarded by mu; closed when received grows

	gone bool // guarded by mu; handed over, and the spool is another's

	damage []spool.Damage // what Open found; constant after it
}

// writer numbers records and appends them. It is the hot path's only lock.
type writer struct {
	mu      sync.Mutex
	next    uint64    // guarded by mu; number of the next record
	buffer  []byte    // guarded by mu; stamp and encoded header
	bodies  sync.Pool // *[]byte
	key     []byte    // of sealed values; constant after Open
	waiting int       // guarded by mu; bytes since the batcher was kicked
	sealed  bool      // guarded by mu
	shares  shares    // guarded by mu
	refused refused   // guarded by mu
	handed  bool      // guarded by mu; nothing is written here any more
	heir    heir      // guarded by mu; who writes then, or nil while nobody does
	turn    sync.Cond // heir was set
}

// Open reads what the spool holds of the agent's chain, signs what a crash
// left unsigned, and begins a new epoch with its first records.
func Open(cfg Config) (*Log, error) {
	if cfg.ResponseLimit == 0 {
		cfg.ResponseLimit = defaultResponseLimit
	}
	if cfg.Signer.Name() != translog.AgentKeyName(cfg.Cluster, cfg.Agent) {
		return nil, fmt.Errorf("open audit log: the signing key is %s's, not %s/%s's", cfg.Signer.Name(), cfg.Cluster, cfg.Agent)
	}
	l := &Log{
		cfg:   cfg,
		start: time.Now(),
		kick:  make(chan struct{}, 1),
		again: make(chan struct{}, 1),
		made:  make(chan struct{}, 1),
		idle:  make(chan struct{}, 1),
		stuck: make(chan struct{}, 1),
		grown: make(chan struct{}),

		leaving: make(chan struct{}), left: make(chan struct{}),
	}
	l.write.turn.L = &l.write.mu
	l.write.shares.limit = cfg.Spool.Limit() / shareOf
	l.write.bodies.New = func() any { return new([]byte) }
	if err := l.recover(); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	begin := l.begin
	if cfg.Baton != nil {
		begin = func() error { return l.carryOn(*cfg.Baton) }
	}
	if err := begin(); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return l, nil
}

// append writes one record of session s, or of none when s is nil. It fills in
// the counts of a closing.
func (l *Log) append(s *Session, h *record.Header, body *record.Body, counts record.Closed) (spool.Position, error) {
	buffer := l.write.bodies.Get().(*[]byte)
	defer l.write.bodies.Put(buffer)
	encoded, err := record.AppendBody((*buffer)[:0], body)
	if err != nil {
		return 0, err
	}
	*buffer = encoded
	return l.appendEncoded(s, h, encoded, counts)
}

// appendEncoded is append for a body that is encoded already. What h points to is
// not kept.
func (l *Log) appendEncoded(s *Session, h *record.Header, encoded []byte, counts record.Closed) (position spool.Position, err error) {
	if len(encoded) > record.MaxBody {
		return 0, fmt.Errorf("write record: a body of %d bytes is over the limit of %d", len(encoded), record.MaxBody)
	}
	w := &l.write
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.await()
	if w.sealed || s != nil && s.closed {
		return 0, ErrSealed
	}
	if s != nil {
		h.Session, counts = s.id, s.counts.plus(counts)
		if h.Closed != nil {
			counts.Reason = h.Closed.Reason
			*h.Closed = counts
		}
	}
	var netns uint64
	if s != nil {
		netns = s.netns
	}
	if next != nil {
		position, err = putElsewhere(next, h, encoded, netns)
	} else {
		position, err = l.place(h, encoded, netns)
	}
	if errors.Is(err, errDropped) {
		return 0, nil
	}
	if err == nil && s != nil { // only what is in the spool counts
		s.counts, s.closed = tally(counts), h.Closed != nil
	}
	return position, err
}

// place writes a record with what the writer knows: number and times. netns is
// the workload whose share of the spool it takes; 0: none's. write.mu is held.
func (l *Log) place(h *record.Header, encoded []byte, netns uint64) (_ spool.Position, err error) {
	w := &l.write
	now := time.Now()
	h.No, h.Time, h.Mono = w.next, failpoint.Wall(now), int64(now.Sub(l.start))
	if w.buffer, err = record.AppendHeader(appendStamp(w.buffer[:0], h.No, h.Time), h); err != nil {
		return 0, err
	}
	if len(w.buffer) > record.MaxHeader+stampLen {
		return 0, fmt.Errorf("write record: a header of %d bytes is over the limit of %d", len(w.buffer), record.MaxHeader)
	}
	position, err := l.spool(h, encoded, netns)
	if err != nil {
		return 0, err
	}
	if w.waiting += len(w.buffer) + len(encoded); w.waiting > batchBytes {
		w.waiting = 0
		poke(l.kick)
	}
	return position, nil
}

// errDropped reports a record that found no room and is missing by policy.
var errDropped = errors.New("the record was dropped")

// spool appends what is encoded, if the workload has room for it.
// How an operation or a session ended is written beyond its share: what began
// is bounded. mu of the writer is held.
func (l *Log) spool(h *record.Header, body []byte, netns uint64) (spool.Position, error) {
	w := &l.write
	size := int64(len(w.buffer)+len(body)) + entryOverhead
	var one *share
	if netns != 0 {
		var fits bool
		if one, fits = w.shares.take(netns, size); !fits && h.Outcome == nil && h.Closed == nil {
			return 0, l.noRoom(one, ErrShare)
		}
	}
	position, err := l.cfg.Spool.Append(recordEntry, w.buffer, body)
	if errors.Is(err, spool.ErrFull) {
		return 0, l.noRoom(nil, err)
	}
	if err != nil {
		return 0, fmt.Errorf("write record: %w", err)
	}
	if one != nil {
		w.shares.charge(one, size)
	}
	w.next++
	return position, nil
}

// entryOverhead is what the spool and a batch need for a record beside it.
const entryOverhead = 32

// stampLen is the length of what the spool keeps before a header, so that the
// batcher need not parse what the writer has just encoded: number u64, wall
// clock in ms i64, big endian.
const stampLen = 16

func appendStamp(dst []byte, no uint64, now time.Time) []byte {
	dst = binary.BigEndian.AppendUint64(dst, no)
	return binary.BigEndian.AppendUint64(dst, uint64(now.UnixMilli()))
}

// cutStamp reads what appendStamp wrote.
func cutStamp(head []byte) (no uint64, ms int64, header []byte, err error) {
	if len(head) < stampLen {
		return 0, 0, nil, errors.New("a record in the spool is too short")
	}
	return binary.BigEndian.Uint64(head), int64(binary.BigEndian.Uint64(head[8:])), head[stampLen:], nil
}

// appendDurable is append, and then waits for stable storage when durable.
func (l *Log) appendDurable(h *record.Header, body *record.Body, durable bool) error {
	position, err := l.append(nil, h, body, record.Closed{})
	if err != nil || !durable {
		return err
	}
	if err := l.cfg.Spool.Sync(position); err != nil {
		return l.elsewhere(err, func(next heir) error { return next.settle(position) })
	}
	return nil
}

// Alert records something that interception saw and stopped.
func (l *Log) Alert(a record.Alert) error {
	return l.appendDurable(&record.Header{Type: record.AgentAlert, Alert: &a}, &record.Body{}, false)
}

// Order records an order that the agent is about to obey, with the signed bytes,
// on stable storage.
func (l *Log) Order(o record.Order, signed []byte) error {
	return l.appendDurable(&record.Header{Type: record.AgentOrder, Order: &o}, &record.Body{Extra: signed}, true)
}

// poke wakes whoever waits on a channel of one, and never blocks.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
