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
	lines    *lineReader
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
	index   int64
	hash    record.Hash // NoteHash
	leaf    Hash        // LeafHash
	entries []checkedEntry
	whole   bool // every record was read and is what the agent signed
	twin    bool // another leaf has its number; it counts once
}

// checkedEntry is what is remembered of a record that is what its agent
// signed.
type checkedEntry struct {
	no      uint64
	session string
	opened  bool
	closed  *record.Closed
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
	v := &verification{bundle: bundle, keys: keys, lines: newLineReader(), bodies: map[int64][]shredded{}}
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
	for _, index := range v.indexes {
		v.checkNote(index)
	}
	for _, b := range v.batches {
		v.checkRecords(b)
	}
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
	info, err := fs.Stat(v.bundle, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("read %s: not a regular file of at most %d bytes", name, maxFile)
	}
	data, err := fs.ReadFile(v.bundle, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
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
			v.strange(name)
			return fs.SkipDir
		}
		dir, base, _ := strings.Cut(name, "/")
		if dir == "records" {
			base = strings.TrimSuffix(base, ".jsonl")
		}
		index, err := strconv.ParseInt(base, 10, 64)
		if err != nil || index < 0 || strconv.FormatInt(index, 10) != base || v.fileOf(dir, index) != name {
			v.strange(name)
			return nil
		}
		if dir == "notes" {
			v.indexes = append(v.indexes, index)
		} else if _, err := fs.Stat(v.bundle, v.fileOf("notes", index)); err != nil {
			v.strange(name)
		}
		return nil
	})
	if err != nil {
		v.find(Finding{Code: BundleMalformed, Index: -1, Record: -1, Detail: err.Error()})
	}
	slices.Sort(v.indexes)
}

func (v *verification) fileOf(dir string, index int64) string {
	name := dir + "/" + strconv.FormatInt(index, 10)
	switch dir {
	case "records":
		return name + ".jsonl"
	case "notes", "proofs":
		return name
	}
	return ""
}

func (v *verification) strange(name string) {
	v.find(Finding{Code: BundleMalformed, Index: -1, Record: -1, Detail: "a file that does not belong there: " + strconv.Quote(name)})
}

// checkNote opens one note with its agent's pinned key.
func (v *verification) checkNote(index int64) {
	signed, err := v.read(v.fileOf("notes", index))
	if err != nil {
		v.find(Finding{Code: BundleMalformed, Index: index, Record: -1, Detail: err.Error()})
		return
	}
	if IsShredding(signed) {
		v.checkShredding(index, signed)
		return
	}
	claimed, err := PeekBatch(signed)
	if err != nil {
		v.find(Finding{Code: NoteSignature, Index: index, Record: -1, Detail: "the note is not one that an agent writes"})
		return
	}
	name := AgentKeyName(claimed.Cluster, claimed.Agent)
	batch, code, err := v.keys.open(signed, name, index)
	if err != nil {
		v.find(Finding{Code: code, Index: index, Agent: name, Epoch: claimed.Epoch, Seq: claimed.Seq, Record: -1, Detail: err.Error()})
		return
	}
	v.batches = append(v.batches, &checkedBatch{Batch: batch, index: index, hash: record.NoteHash(signed), leaf: LeafHash(signed)})
}

// checkShredding takes what the log itself says of bodies that it destroyed.
func (v *verification) checkShredding(index int64, signed []byte) {
	s, err := OpenShredding(signed, v.keys.log)
	if err != nil {
		v.find(Finding{Code: NoteSignature, Index: index, Record: -1, Detail: err.Error()})
		return
	}
	if _, err := fs.Stat(v.bundle, v.fileOf("records", index)); err == nil {
		v.strange(v.fileOf("records", index))
	}
	v.report.Shreddings = append(v.report.Shreddings, IndexedShredding{Index: index, Shredding: s})
	for _, b := range s.Bodies {
		v.bodies[b.Index] = append(v.bodies[b.Index], shredded{b, index})
	}
}

// isShredded reports whether a later leaf of the log says that the body of a
// record was destroyed.
func (v *verification) isShredded(index int64, no uint64) bool {
	return slices.ContainsFunc(v.bodies[index], func(s shredded) bool { return s.stated > index && s.First <= no && no <= s.Last })
}

func (b *checkedBatch) finding(code Code, detail string) Finding {
	return Finding{Code: code, Index: b.index, Agent: AgentKeyName(b.Cluster, b.Agent), Epoch: b.Epoch, Seq: b.Seq, Record: -1, Detail: detail}
}
