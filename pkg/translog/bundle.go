package translog

import (
	"bytes"
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
const bundleFormat = "sluice.bundle/1"

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
	var records bytes.Buffer
	for i := range b.Entries {
		hidden := x.Scope.Kind == OneSession && sessionOf(b.Entries[i].Header) != x.Scope.Session
		if err := writeLine(&records, &b.Entries[i], hidden); err != nil {
			return err
		}
	}
	return write("records/"+strconv.FormatInt(b.Index, 10)+".jsonl", records.Bytes())
}

// line is one record in a bundle, one JSON object on one line. Header and body
// are strings that hold the exact bytes, which are JSON themselves.
type line struct {
	No         uint64       `json:"no"`
	Leaf       record.Hash  `json:"leaf"`
	SaltHeader *record.Salt `json:"salt_header,omitempty"`
	SaltBody   *record.Salt `json:"salt_body,omitempty"`
	BodyHash   *record.Hash `json:"body_hash,omitempty"`
	Header     *string      `json:"header,omitempty"`
	Body       *string      `json:"body,omitempty"`
}

func writeLine(dst *bytes.Buffer, e *record.Entry, hidden bool) error {
	l := line{No: e.No, Leaf: e.Leaf()}
	if !hidden {
		header := string(e.Header)
		l.SaltHeader, l.Header = &e.SaltHeader, &header
		if e.BodyHash != nil {
			l.BodyHash = e.BodyHash
		} else {
			body := string(e.Body)
			l.SaltBody, l.Body = &e.SaltBody, &body
		}
	}
	return encodeLine(dst, &l)
}

// encodeLine writes the one form of a line.
func encodeLine(dst *bytes.Buffer, l *line) error {
	encoder := json.NewEncoder(dst)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(l)
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
