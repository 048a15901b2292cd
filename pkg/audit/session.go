package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
)

// digestBytes is how much of a stream beyond the response limit one chunk
// record stands for.
const digestBytes = 1 << 20

// Session writes the records of one session. It is safe for concurrent use.
// After an error the caller must forward nothing that the record was for.
type Session struct {
	log   *Log
	id    string
	netns uint64 // whose share of the spool its records take

	counts tally // guarded by log.write.mu; of the records in the spool
	closed bool  // guarded by log.write.mu

	mu      sync.Mutex
	streams map[uint64]*streams // guarded by mu; by operation
	last    record.Chunk        // guarded by mu; of the outcome that is being written, whose memory it saves
}

// streams is what is known of the streams of one operation.
type streams struct {
	kept     int64 // bytes that are in records, but for those of input
	input    int64 // likewise, of input
	response int64 // bytes of the response
	beyond   map[string]*digest
}

// digest is a run of bytes that are not kept: beyond the limit, or sealed.
type digest struct {
	hash hash.Hash
	kind string        // before the hex: empty, or that of a keyed hash
	sum  func() string // in place of both: who has the bytes hashes them
	at   time.Duration // of the first byte
	size int64
}

// Session writes the opening of a session. It does not wait for stable storage:
// the first durable intent of the session takes the opening with it, and what
// is read before that has no lasting effect.
func (l *Log) Session(s *session.Session) (*Session, error) {
	a := &Session{log: l, id: s.ID, netns: s.Workload.Kernel.NetnsCookie, streams: map[uint64]*streams{}}
	if _, err := a.append(&record.Header{Type: record.SessionOpened, Opened: s}, &record.Body{}, record.Closed{}); err != nil {
		return nil, fmt.Errorf("record session: %w", err)
	}
	return a, nil
}

// tally is what the records of a session so far add up to.
type tally record.Closed

// plus returns the counts with one more record, which counts for what more
// says.
func (t tally) plus(more record.Closed) record.Closed {
	return record.Closed{
		Records:    t.Records + 1,
		Operations: t.Operations + more.Operations,
		Denied:     t.Denied + more.Denied,
		Held:       t.Held + more.Held,
		Masked:     t.Masked + more.Masked,
	}
}

func (s *Session) append(h *record.Header, body *record.Body, counts record.Closed) (spool.Position, error) {
	return s.log.append(s, h, body, counts)
}

// Intent records an operation and what was decided, request included. It
// returns nil only when all of it is in the spool, and on stable storage when
// durable.
func (s *Session) Intent(op *operation.Operation, in record.Intent, durable bool) error {
	position, err := s.intent(op, &in)
	if err != nil {
		return fmt.Errorf("record intent: %w", err)
	}
	if !durable {
		return nil
	}
	if err := s.log.settle(position); err != nil {
		return fmt.Errorf("record intent: %w", err)
	}
	return nil
}

func (s *Session) intent(op *operation.Operation, in *record.Intent) (spool.Position, error) {
	h := record.Header{Type: record.OperationIntent, Operation: op.ID, Parent: op.Parent, Intent: in}
	counts := record.Closed{Operations: 1, Denied: denied(&h)}
	buffer := s.log.write.bodies.Get().(*[]byte)
	defer s.log.write.bodies.Put(buffer)
	encoded, whole := record.AppendRequest((*buffer)[:0], op.Text, op.Params, pieceBytes)
	if *buffer = encoded; whole {
		return s.log.appendEncoded(s, &h, encoded, counts)
	}
	pieces := s.log.request(op)
	position, err := s.append(&h, &pieces[0].body, counts)
	for i := 1; i < len(pieces) && err == nil; i++ {
		p := &pieces[i]
		chunk := record.Chunk{Stream: p.stream, Size: p.size}
		more := record.Header{Type: record.OperationChunk, Operation: op.ID, Parent: op.Parent, Chunk: &chunk}
		position, err = s.append(&more, &p.body, record.Closed{})
	}
	return position, err
}

// Chunk records a piece of a stream, as it will be forwarded. A request is kept
// whole, however large it is, and so is a list of objects; the workload's share of the spool bounds how far
// it can run ahead of the collector. A response is kept up to the response limit
// of its operation; beyond it, and while the spool is crowded, a digest and the
// size are kept, one record for each MiB and one at the outcome. Such a record
// may come after its bytes were forwarded, so that a kill loses the digest of
// less than a MiB.
func (s *Session) Chunk(op uint64, stream string, at time.Duration, chunk []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chunk(op, stream, at, chunk, nil)
}

// Digested is Chunk for a stream whose owner hashes it, the chunk included.
// What is not kept is recorded with what sum returns by then. It may be called
// until the operation has its outcome, and must not call the session.
func (s *Session) Digested(op uint64, stream string, at time.Duration, chunk []byte, sum func() string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chunk(op, stream, at, chunk, sum)
}

// chunk is Chunk, or Digested. mu is held.
func (s *Session) chunk(op uint64, stream string, at time.Duration, chunk []byte, sum func() string) error {
	st := s.streams[op]
	if st == nil {
		st = &streams{}
		s.streams[op] = st
	}
	if stream == "response" {
		st.response += int64(len(chunk))
	}
	whole := int64(len(chunk))
	if stream != "request" && stream != "objects" {
		kept := &st.kept
		if stream == "stdin" { // what is sent must not take the place of the answer
			kept = &st.input
		}
		whole = min(whole, max(0, s.log.cfg.ResponseLimit-*kept))
		if s.crowded() {
			whole = 0
		}
		*kept += whole
	}
	for kept := chunk[:whole]; len(kept) > 0; {
		piece := kept[:min(len(kept), pieceBytes)]
		kept = kept[len(piece):]
		h := record.Header{Type: record.OperationChunk, Operation: op, Chunk: &record.Chunk{Stream: stream, At: int64(at), Size: int64(len(piece))}}
		if _, err := s.append(&h, &record.Body{Bytes: piece}, record.Closed{}); err != nil {
			return fmt.Errorf("record chunk: %w", err)
		}
	}
	if beyond := chunk[whole:]; len(beyond) > 0 {
		return s.digest(op, st, stream, at, beyond, sum)
	}
	return nil
}

// SealedChunk is Chunk for a stream that must not be kept: none of it is, and
// its digest is keyed, so that nobody can try what it may have been.
func (s *Session) SealedChunk(op uint64, stream string, at time.Duration, chunk []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[op]
	if st == nil {
		st = &streams{}
		s.streams[op] = st
	}
	if stream == "response" {
		st.response += int64(len(chunk))
	}
	if st.beyond == nil {
		st.beyond = map[string]*digest{}
	}
	if st.beyond[stream] == nil {
		st.beyond[stream] = &digest{hash: hmac.New(sha256.New, s.log.write.key), kind: sealedBy}
	}
	return s.digest(op, st, stream, at, chunk, nil)
}

// crowded reports whether the spool, or the workload's share of it, is so full
// that room is kept for requests and decisions.
func (s *Session) crowded() bool {
	limit := s.log.cfg.Spool.Limit()
	if s.log.cfg.Spool.Bytes() > limit-limit/4 {
		return true
	}
	w := &s.log.write
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shares.crowded(s.netns)
}

// digest takes bytes beyond the limit. mu is held.
func (s *Session) digest(op uint64, st *streams, stream string, at time.Duration, chunk []byte, sum func() string) error {
	if st.beyond == nil {
		st.beyond = map[string]*digest{}
	}
	d := st.beyond[stream]
	if d == nil {
		d = &digest{hash: sha256.New(), sum: sum}
		st.beyond[stream] = d
	}
	if d.size == 0 {
		d.at = at
	}
	if d.sum == nil {
		d.hash.Write(chunk)
	}
	d.size += int64(len(chunk))
	if d.size < digestBytes {
		return nil
	}
	return s.flush(op, stream, d)
}

// text is the digest as it is recorded.
func (d *digest) text() string {
	if d.sum != nil {
		return d.sum()
	}
	return d.kind + hex.EncodeToString(d.hash.Sum(nil))
}

// flush records a digest. mu is held.
func (s *Session) flush(op uint64, stream string, d *digest) error {
	if d.size == 0 {
		return nil
	}
	c := record.Chunk{Stream: stream, At: int64(d.at), Size: d.size, Digest: d.text()}
	d.hash.Reset()
	d.size = 0
	if _, err := s.append(&record.Header{Type: record.OperationChunk, Operation: op, Chunk: &c}, &record.Body{}, record.Closed{}); err != nil {
		return fmt.Errorf("record chunk: %w", err)
	}
	return nil
}

// Outcome records how an operation ended. The size of the response is filled
// in from its chunks.
func (s *Session) Outcome(op uint64, out record.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outcome(op, out, nil)
}

// Finish is Chunk of the last of a response and Outcome, in one record where
// the chunk is kept whole.
func (s *Session) Finish(op uint64, at time.Duration, chunk []byte, out record.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept int64
	if st := s.streams[op]; st != nil {
		kept = st.kept
	}
	size := int64(len(chunk))
	if size > min(pieceBytes, s.log.cfg.ResponseLimit-kept) || s.crowded() {
		if err := s.chunk(op, "response", at, chunk, nil); err != nil {
			return err
		}
		return s.outcome(op, out, nil)
	}
	s.last = record.Chunk{Stream: "response", At: int64(at), Size: size}
	out.Chunk = &s.last
	return s.outcome(op, out, chunk)
}

// outcome writes the last record of an operation, with the last of its
// response where the outcome says so. mu is held.
func (s *Session) outcome(op uint64, out record.Outcome, last []byte) error {
	out.Response = int64(len(last))
	if st := s.streams[op]; st != nil {
		delete(s.streams, op)
		out.Response += st.response
		for stream, d := range st.beyond {
			if err := s.flush(op, stream, d); err != nil {
				return err
			}
		}
	}
	h := record.Header{Type: record.OperationOutcome, Operation: op, Outcome: &out}
	if _, err := s.append(&h, &record.Body{Bytes: last}, record.Closed{Denied: denied(&h), Masked: uint64(max(0, out.Masked))}); err != nil {
		return fmt.Errorf("record outcome: %w", err)
	}
	return nil
}

// denied returns how many operations a record says were denied.
func denied(h *record.Header) uint64 {
	if h.Denied() {
		return 1
	}
	return 0
}

// Approval records a step in the life of an approval, with the signed bytes
// that it rests on; they must be JSON. The state decides the type: a pending
// one was asked for, and with a vote's bytes it was voted on.
func (s *Session) Approval(op uint64, a record.Approval, signed []byte, durable bool) error {
	h := record.Header{Type: approvalType(&a), Operation: op, Approval: &a}
	var counts record.Closed
	if h.Type == record.ApprovalRequested {
		counts.Held = 1
	}
	position, err := s.append(&h, &record.Body{Extra: signed}, counts)
	if err != nil {
		return fmt.Errorf("record approval: %w", err)
	}
	if !durable {
		return nil
	}
	if err := s.log.settle(position); err != nil {
		return fmt.Errorf("record approval: %w", err)
	}
	return nil
}

func approvalType(a *record.Approval) record.Type {
	switch {
	case a.State != "pending":
		return record.ApprovalSettled
	case a.Approver != "":
		return record.ApprovalVoted
	default:
		return record.ApprovalRequested
	}
}

// Close records the end of the session. The counts are filled in; the caller
// says why it ended.
func (s *Session) Close(c record.Closed) error {
	h := record.Header{Type: record.SessionClosed, Closed: &c}
	if _, err := s.append(&h, &record.Body{}, record.Closed{}); err != nil {
		return fmt.Errorf("record end of session: %w", err)
	}
	return nil
}
