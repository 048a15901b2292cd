package translog

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
)

// bundleFormat names the version of the bundle's layout, which
// docs/audit-format.md describes.
const bundleFormat = "sluice.bundle/2"

// ScopeKind says what a bundle claims to hold.
type ScopeKind string

// The scopes.
const (
	WholeLog   ScopeKind = "log"     // every leaf from 0 to the checkpoint
	Range      ScopeKind = "range"   // every leaf from First to the checkpoint
	OneSession ScopeKind = "session" // the batches with records of one session, other records by their leaf hash only
)

// Scope is what a bundle claims to hold. Nobody signs it: Verify checks the
// claim, and prints it.
type Scope struct {
	Kind    ScopeKind `json:"kind"`
	First   int64     `json:"first,omitempty"`   // of a Range
	Session string    `json:"session,omitempty"` // of OneSession
}

// manifest is the file bundle.json.
type manifest struct {
	Format   string    `json:"format"`
	Scope    Scope     `json:"scope"`
	Exported time.Time `json:"exported"`
}

func (m *manifest) encode() ([]byte, error) {
	m.Exported = m.Exported.UTC()
	encoded, err := json.Marshal(m)
	return append(encoded, '\n'), err
}

// StoredBatch is one leaf with its records, as the collector kept them. A
// shredding has none.
type StoredBatch struct {
	Index   int64
	Note    []byte // signed
	Entries []record.Entry
}

// Export is what WriteBundle writes from.
type Export struct {
	Scope      Scope
	Exported   time.Time
	Checkpoint []byte                        // signed
	Size       int64                         // of Checkpoint
	Hashes     HashReader                    // of the log, at least Size leaves of it
	Batches    iter.Seq2[StoredBatch, error] // those of the scope, by ascending index

	Cosigned     []byte // a checkpoint with witnesses' cosignatures; nil: none
	CosignedSize int64  // of it; no more than Size
}

// WriteBundle gives the files of a bundle to write, each once, names with
// slashes and below the bundle's root. In a bundle of one session every record
// of another session is reduced to its leaf hash.
func WriteBundle(x Export, write func(name string, data []byte) error) error {
	head, err := (&manifest{Format: bundleFormat, Scope: x.Scope, Exported: x.Exported}).encode()
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if err := errors.Join(write("bundle.json", head), write("checkpoint", x.Checkpoint)); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if err := x.writeCosigned(write); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	for b, err := range x.Batches {
		if err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
		if err := x.writeBatch(&b, write); err != nil {
			return fmt.Errorf("write bundle: leaf %d: %w", b.Index, err)
		}
	}
	return nil
}

func (x *Export) writeBatch(b *StoredBatch, write func(name string, data []byte) error) error {
	name := strconv.FormatInt(b.Index, 10)
	if err := write("notes/"+name, b.Note); err != nil {
		return err
	}
	if !IsShredding(b.Note) {
		if err := x.writeRecords(b, write); err != nil {
			return err
		}
	}
	if x.Scope.Kind == WholeLog {
		return nil // the root follows from the notes
	}
	proof, err := ProveInclusion(x.Size, b.Index, x.Hashes)
	if err != nil {
		return err
	}
	return write("proofs/"+name, encodeProof(proof))
}

// writeCosigned writes what witnesses saw, and that the checkpoint extends it.
func (x *Export) writeCosigned(write func(name string, data []byte) error) error {
	if x.Cosigned == nil {
		return nil
	}
	var proof []Hash
	if x.CosignedSize < x.Size {
		var err error
		if proof, err = ProveConsistency(x.CosignedSize, x.Size, x.Hashes); err != nil {
			return err
		}
	}
	return errors.Join(write(cosignedFile, x.Cosigned), write(cosignedProof, encodeProof(proof)))
}

func (x *Export) writeRecords(b *StoredBatch, write func(name string, data []byte) error) error {
	var records []byte
	for i := range b.Entries {
		hide := x.Scope.Kind == OneSession && sessionOf(b.Entries[i].Header) != x.Scope.Session
		records = appendEntry(records, &b.Entries[i], b.Entries[i].Leaf(), hide)
	}
	return write("records/"+strconv.FormatInt(b.Index, 10), records)
}

// appendEntry appends the one form that a record has in a bundle: a line that
// says which one it is and how long the others are, then a line with the exact
// bytes of the header and one with those of the body, which are JSON and may hold
// newlines of their own.
//
//	no leaf salt length-of-header length-of-body
//	no leaf commitment-to-the-body length-of-header      where the body was destroyed
//	no leaf                                              where the record is hidden
func appendEntry(dst []byte, e *record.Entry, leaf record.Hash, hide bool) []byte {
	dst = append(strconv.AppendUint(dst, e.No, 10), ' ')
	dst = base64.StdEncoding.AppendEncode(dst, leaf[:])
	if hide {
		return append(dst, '\n')
	}
	dst = append(dst, ' ')
	if e.BodyHash != nil {
		dst = base64.StdEncoding.AppendEncode(dst, e.BodyHash[:])
		dst = strconv.AppendInt(append(dst, ' '), int64(len(e.Header)), 10)
		return append(append(append(dst, '\n'), e.Header...), '\n')
	}
	dst = base64.StdEncoding.AppendEncode(dst, e.Salt[:])
	dst = strconv.AppendInt(append(dst, ' '), int64(len(e.Header)), 10)
	dst = strconv.AppendInt(append(dst, ' '), int64(len(e.Body)), 10)
	dst = append(append(append(dst, '\n'), e.Header...), '\n')
	return append(append(dst, e.Body...), '\n')
}

// sessionOf returns the session that a header names, "" for none or for a
// header that cannot be read.
func sessionOf(header []byte) string {
	h, err := record.DecodeHeader(header)
	if err != nil {
		return ""
	}
	return h.Session
}
