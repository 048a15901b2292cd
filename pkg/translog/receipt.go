package translog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sluicegate/sluice/pkg/record"
)

// Receipt is the collector's answer to batches: a signed checkpoint, the proof
// that it extends an older one, and for each batch the proof that its note is
// a leaf. It needs no signature of its own: all that it says is proven under
// the checkpoint's.
type Receipt struct {
	Checkpoint  string     `json:"checkpoint"`            // signed
	From        int64      `json:"from"`                  // size of the older checkpoint that Consistency starts at; 0 for none
	Consistency []Hash     `json:"consistency,omitempty"` // from From to the checkpoint
	Batches     []Included `json:"batches"`               // of one agent; may be empty
}

// Included proves that one batch is in the log.
type Included struct {
	record.BatchID
	Index int64  `json:"index"`
	Proof []Hash `json:"proof"`
}

// SyncRequest is what an agent asks after it connected or when a receipt did
// not fit: where does the log stand from what I have seen, and what of this
// have you got?
type SyncRequest struct {
	Seen    int64            `json:"seen"`    // size of the newest checkpoint that the agent has verified
	Pending []record.BatchID `json:"pending"` // oldest first, at most MaxPending
}

// MaxPending bounds the batches of one receipt or SyncRequest. It keeps both
// below the bus's 1 MiB for any log that can exist.
const MaxPending = 64

// maxReceipt bounds the encoding of a receipt, in bytes.
const maxReceipt = 512 << 10

// ErrStale reports a receipt that proves its checkpoint from another one than
// the agent has seen. It is no fault: the agent asks again with what it has
// seen.
var ErrStale = errors.New("the receipt does not start at the checkpoint that was seen")

// Acceptance is what a verified receipt proves.
type Acceptance struct {
	Checkpoint Checkpoint // the newest that is now seen
	Signed     string     // its signed form
	Batches    []record.BatchID
}

// EncodeReceipt returns the JSON of r.
func EncodeReceipt(r *Receipt) ([]byte, error) {
	if len(r.Batches) > MaxPending {
		return nil, fmt.Errorf("encode receipt: more than %d batches", MaxPending)
	}
	return json.Marshal(r)
}

// DecodeSyncRequest reads the JSON of a SyncRequest.
func DecodeSyncRequest(data []byte) (SyncRequest, error) {
	var r SyncRequest
	if err := decodeStrict(data, &r); err != nil {
		return SyncRequest{}, fmt.Errorf("decode sync request: %w", err)
	}
	if r.Seen < 0 || len(r.Pending) > MaxPending {
		return SyncRequest{}, errors.New("decode sync request: out of range")
	}
	return r, nil
}

// AcceptReceipt verifies a receipt on the agent. seen is the newest checkpoint
// that the agent has verified; leaf returns LeafHash of the note that the agent
// itself has spooled under an id, and false when there is none. Anything that
// does not verify is an error and proves nothing at all.
func AcceptReceipt(data []byte, log *Verifier, seen Checkpoint, leaf func(record.BatchID) (Hash, bool)) (Acceptance, error) {
	var r Receipt
	if err := decodeStrict(data, &r); err != nil {
		return Acceptance{}, fmt.Errorf("accept receipt: %w", err)
	}
	head, err := OpenCheckpoint([]byte(r.Checkpoint), log)
	if err != nil {
		return Acceptance{}, fmt.Errorf("accept receipt: %w", err)
	}
	if err := extends(head, seen, r.From, r.Consistency); err != nil {
		return Acceptance{}, fmt.Errorf("accept receipt: %w", err)
	}
	accepted := Acceptance{Checkpoint: head, Signed: r.Checkpoint}
	for _, b := range r.Batches {
		hash, ok := leaf(b.BatchID)
		if !ok {
			continue // acknowledged before
		}
		if err := checkInclusion(head, b.Index, hash, b.Proof); err != nil {
			return Acceptance{}, fmt.Errorf("accept receipt: batch %d: %w", b.Seq, err)
		}
		accepted.Batches = append(accepted.Batches, b.BatchID)
	}
	return accepted, nil
}

// ErrForked reports a checkpoint that contradicts an older one: the log was
// rolled back or shows two faces.
var ErrForked = errors.New("the log contradicts a checkpoint that it signed before")

// extends reports whether head is seen or continues it.
func extends(head, seen Checkpoint, from int64, proof []Hash) error {
	if seen.Size == 0 {
		return nil
	}
	if head.Origin != seen.Origin {
		return fmt.Errorf("%w: it is another log", ErrForked)
	}
	if head.Size == seen.Size {
		if head.Root != seen.Root {
			return ErrForked
		}
		return nil
	}
	if from != seen.Size || head.Size < seen.Size {
		return ErrStale
	}
	if err := tlog.CheckTree(proof, head.Size, head.Root, seen.Size, seen.Root); err != nil {
		return ErrForked
	}
	return nil
}

// checkInclusion reports whether leaf stands at index under head.
func checkInclusion(head Checkpoint, index int64, leaf Hash, proof []Hash) error {
	if index < 0 || index >= head.Size {
		return errors.New("its index is not in the log")
	}
	if err := tlog.CheckRecord(proof, head.Size, head.Root, index, leaf); err != nil {
		return errors.New("its inclusion proof does not hold")
	}
	return nil
}

// decodeStrict reads one JSON value with known fields and nothing after it.
func decodeStrict(data []byte, into any) error {
	if len(data) > maxReceipt {
		return errors.New("too large")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return errors.New("not JSON of this kind")
	}
	if decoder.InputOffset() != int64(len(data)) {
		return errors.New("something follows")
	}
	return nil
}
