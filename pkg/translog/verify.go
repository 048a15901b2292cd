package translog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/record"
)

// maxFile bounds what is read of one file of a bundle. Lines repeat each body
// as a JSON string inside JSON, which can multiply its size.
const maxFile = 16 << 20

// verification is one run of Verify over one bundle.
type verification struct {
	bundle   fs.FS
	keys     *keys
	exported int64 // ms; when the bundle says it was made

	head    Checkpoint
	headOK  bool
	indexes []int64 // of the notes, ascending
	batches []*checkedBatch
	bodies  map[int64][]shredded // whose destruction shreddings state, by leaf
	tree    *memoryTree          // every leaf, when the scope is the whole log
	broken  bool                 // every leaf is there, and they do not give the log's root
	report  Report
}

// checkedBatch is a note whose signature holds.
type checkedBatch struct {
	record.Batch
	index    int64
	hash     record.Hash // NoteHash
	leaf     Hash        // LeafHash
	sessions []*sessionCount
	whole    bool // every record was read and is what the agent signed
	twin     bool // another leaf has its number; it counts once
}

// shredded is a span of a shredding and the leaf that states it.
type shredded struct {
	Span
	stated int64
}

func newVerification(bundle fs.FS, trust Trust) (*verification, error) {
	keys, err := newKeys(trust)
	if err != nil {
		return nil, err
	}
	v := &verification{bundle: bundle, keys: keys, bodies: map[int64][]shredded{}}
	if err := v.readManifest(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *verification) readManifest() error {
	data, err := v.read("bundle.json")
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil || m.Format != bundleFormat {
		return errors.New("bundle.json is not of a bundle of this format")
	}
	if again, err := m.encode(); err != nil || !bytes.Equal(again, data) {
		return errors.New("bundle.json is not in the one form that an export has")
	}
	switch m.Scope.Kind {
	case WholeLog, Range, OneSession:
	default:
		return errors.New("bundle.json names no scope that we know")
	}
	v.exported = m.Exported.UnixMilli()
	v.report = Report{Scope: m.Scope, Exported: m.Exported, Findings: []Finding{}, Shreddings: []IndexedShredding{}}
	return nil
}

func (v *verification) run() {
	v.checkCheckpoint()
	v.listFiles()
	v.checkLeaves()
	v.checkNotes()
	v.checkRecords()
	v.checkChains()
	v.checkOrder()
	v.checkSeen()
	v.checkSessions()
	v.checkCosigned()
	v.report.Batches = len(v.batches)
}

func (v *verification) find(f Finding) { v.report.Findings = append(v.report.Findings, f) }

// read returns a file of the bundle.
func (v *verification) read(name string) ([]byte, error) {
	if err := v.checkFile(name); err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(v.bundle, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// checkFile refuses what must not be opened, as a pipe waits for a writer, and
// links, which have another say what the bundle holds.
func (v *verification) checkFile(name string) error {
	info, err := fs.Lstat(v.bundle, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return fmt.Errorf("read %s: not a regular file of at most %d bytes", name, maxFile)
	}
	return nil
}

func (v *verification) checkCheckpoint() {
	signed, err := v.read("checkpoint")
	if err != nil {
		v.find(Finding{Code: BundleMalformed, Index: -1, Record: -1, Detail: "checkpoint: " + err.Error()})
		return
	}
	v.head, err = OpenCheckpoint(signed, v.keys.log)
	if err != nil {
		v.find(Finding{Code: CheckpointSignature, Index: -1, Record: -1, Detail: err.Error()})
		return
	}
	v.headOK = true
	v.report.Origin, v.report.Size, v.report.Root = v.head.Origin, v.head.Size, v.head.Root
}

// listFiles learns which leaves are there, and reports files that nobody
// exported.
func (v *verification) listFiles() {
	err := fs.WalkDir(v.bundle, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case name == "bundle.json", name == "checkpoint", name == cosignedFile, name == cosignedProof:
			return nil
		case entry.IsDir() && slices.Contains([]string{".", "notes", "records", "proofs"}, name):
			return nil
		case entry.IsDir():
			v.find(strange(name))
			return fs.SkipDir
		}
		dir, base, _ := strings.Cut(name, "/")
		index, err := strconv.ParseInt(base, 10, 64)
		if err != nil || index < 0 || strconv.FormatInt(index, 10) != base || v.fileOf(dir, index) != name {
			v.find(strange(name))
			return nil
		}
		if dir == "notes" {
			v.indexes = append(v.indexes, index)
		} else if _, err := fs.Stat(v.bundle, v.fileOf("notes", index)); err != nil {
			v.find(strange(name))
		}
		return nil
	})
	if err != nil {
		v.find(Finding{Code: BundleMalformed, Index: -1, Record: -1, Detail: err.Error()})
	}
	slices.Sort(v.indexes)
}

func (v *verification) fileOf(dir string, index int64) string {
	switch dir {
	case "notes", "records", "proofs":
		return dir + "/" + strconv.FormatInt(index, 10)
	}
	return ""
}

func strange(name string) Finding {
	return Finding{Code: BundleMalformed, Index: -1, Record: -1, Detail: "a file that does not belong there: " + strconv.Quote(name)}
}

// noteCheck is what came of one note.
type noteCheck struct {
	found     []Finding
	batch     *checkedBatch
	shredding *Shredding
}

// checkNotes opens the notes, on all processors.
func (v *verification) checkNotes() {
	checks := make([]noteCheck, len(v.indexes))
	inParallel(len(v.indexes), func(_ *struct{}, i int) { checks[i] = v.checkNote(v.indexes[i]) })
	for i, c := range checks {
		v.report.Findings = append(v.report.Findings, c.found...)
		if c.batch != nil {
			v.batches = append(v.batches, c.batch)
		}
		if c.shredding == nil {
			continue
		}
		v.report.Shreddings = append(v.report.Shreddings, IndexedShredding{Index: v.indexes[i], Shredding: *c.shredding})
		for _, b := range c.shredding.Bodies {
			v.bodies[b.Index] = append(v.bodies[b.Index], shredded{b, v.indexes[i]})
		}
	}
}

// checkNote opens one note with its agent's pinned key.
func (v *verification) checkNote(index int64) noteCheck {
	failed := func(f Finding) noteCheck { return noteCheck{found: []Finding{f}} }
	signed, err := v.read(v.fileOf("notes", index))
	if err != nil {
		return failed(Finding{Code: BundleMalformed, Index: index, Record: -1, Detail: err.Error()})
	}
	if IsShredding(signed) {
		return v.checkShredding(index, signed)
	}
	claimed, err := PeekBatch(signed)
	if err != nil {
		return failed(Finding{Code: NoteSignature, Index: index, Record: -1, Detail: "the note is not one that an agent writes"})
	}
	name := AgentKeyName(claimed.Cluster, claimed.Agent)
	batch, code, err := v.keys.open(signed, name, index)
	if err != nil {
		return failed(Finding{Code: code, Index: index, Agent: name, Epoch: claimed.Epoch, Seq: claimed.Seq, Record: -1, Detail: err.Error()})
	}
	return noteCheck{batch: &checkedBatch{Batch: batch, index: index, hash: record.NoteHash(signed), leaf: LeafHash(signed)}}
}

// checkShredding takes what the log itself says of bodies that it destroyed.
func (v *verification) checkShredding(index int64, signed []byte) (c noteCheck) {
	s, err := OpenShredding(signed, v.keys.log)
	if err != nil {
		c.found = append(c.found, Finding{Code: NoteSignature, Index: index, Record: -1, Detail: err.Error()})
		return c
	}
	if _, err := fs.Stat(v.bundle, v.fileOf("records", index)); err == nil {
		c.found = append(c.found, strange(v.fileOf("records", index)))
	}
	c.shredding = &s
	return c
}

// isShredded reports whether a later leaf of the log says that the body of a
// record was destroyed.
func (v *verification) isShredded(index int64, no uint64) bool {
	return slices.ContainsFunc(v.bodies[index], func(s shredded) bool { return s.stated > index && s.First <= no && no <= s.Last })
}

func (b *checkedBatch) finding(code Code, detail string) Finding {
	return Finding{Code: code, Index: b.index, Agent: AgentKeyName(b.Cluster, b.Agent), Epoch: b.Epoch, Seq: b.Seq, Record: -1, Detail: detail}
}
