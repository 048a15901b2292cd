package translog

import (
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/pkg/record"
)

// ReadBundle gives the batches of a bundle by ascending index, without records
// that it hides and without shreddings. It verifies nothing: Verify does. An
// error ends it.
func ReadBundle(bundle fs.FS) iter.Seq2[StoredBatch, error] {
	return func(yield func(StoredBatch, error) bool) {
		v := &verification{bundle: bundle}
		if err := v.readManifest(); err != nil {
			yield(StoredBatch{}, fmt.Errorf("read bundle: %w", err))
			return
		}
		indexes, err := noteIndexes(bundle)
		if err != nil {
			yield(StoredBatch{}, fmt.Errorf("read bundle: %w", err))
			return
		}
		for _, index := range indexes {
			b, err := v.readBatch(index)
			if err != nil {
				yield(StoredBatch{}, fmt.Errorf("read bundle: leaf %d: %w", index, err))
				return
			}
			if !IsShredding(b.Note) && !yield(b, nil) {
				return
			}
		}
	}
}

func noteIndexes(bundle fs.FS) ([]int64, error) {
	files, err := fs.ReadDir(bundle, "notes")
	if err != nil {
		return nil, err
	}
	indexes := make([]int64, len(files))
	for i, file := range files {
		if indexes[i], err = strconv.ParseInt(file.Name(), 10, 64); err != nil {
			return nil, fmt.Errorf("notes/%q is not a leaf", file.Name())
		}
	}
	slices.Sort(indexes)
	return indexes, nil
}

func (v *verification) readBatch(index int64) (StoredBatch, error) {
	b := StoredBatch{Index: index}
	var err error
	if b.Note, err = v.read(v.fileOf("notes", index)); err != nil || IsShredding(b.Note) {
		return b, err
	}
	data, err := v.read(v.fileOf("records", index))
	if err != nil {
		return b, err
	}
	for r := (entryReader{rest: data}); len(r.rest) > 0; {
		var e readEntry
		r.next(&e)
		switch {
		case e.err != "":
			return b, fmt.Errorf("record %d: %s", e.no, e.err)
		case e.kind == whole:
			b.Entries = append(b.Entries, record.Entry{No: e.no, Header: e.header, Body: e.body, Salt: e.salt})
		case e.kind == destroyed:
			b.Entries = append(b.Entries, record.Entry{No: e.no, Header: e.header, BodyHash: &e.bodyHash})
		}
	}
	return b, nil
}
