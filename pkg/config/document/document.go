// Package document reads a YAML file strictly and remembers where each value
// stands, so that every problem in the file is reported at once, each with the
// file's name, the line and the path of the value.
//
// It accepts a small YAML on purpose: one document, no anchors, no aliases, no
// tags, no merge keys, no empty values, no duplicate and no unknown keys. It
// knows nothing of what the values mean; callers add their own problems.
package document

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxBytes is the size from which a file is refused unread.
const MaxBytes = 1 << 20

// Document is one YAML file with the problems found in it so far. It is not
// safe for concurrent use.
type Document struct {
	name     string
	root     *yaml.Node // nil for an empty file
	places   map[string]place
	problems []problem
}

// problem is one thing to correct.
// place is where a value begins in the file; both count from 1.
type place struct{ line, column int }

type problem struct {
	place
	path    string
	message string
}

// Parse reads data as YAML. Name is what problems call the file. The error is
// about syntax; what the values are is for Decode.
func Parse(name string, data []byte) (*Document, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%s: is %d bytes long: the limit is %d", name, len(data), MaxBytes)
	}
	d := &Document{name: name, places: map[string]place{"": {1, 1}}}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var file, next yaml.Node
	err := decoder.Decode(&file)
	if errors.Is(err, io.EOF) {
		return d, nil
	}
	if err != nil {
		return nil, syntax(name, err)
	}
	if err := decoder.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one YAML document: keep one and remove the --- lines", name)
	}
	d.root = file.Content[0]
	return d, nil
}

// syntax puts the YAML library's "yaml: line N: message" into our form.
func syntax(name string, err error) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, found := strings.CutPrefix(message, "line "); found {
		if line, text, found := strings.Cut(rest, ": "); found {
			return fmt.Errorf("%s:%s: %s", name, line, text)
		}
	}
	return fmt.Errorf("%s: %s", name, message)
}

// Problem adds a problem with the value at path, written as rules[1].effect.
// Where the file has no such value, the place is that of the closest value
// around it. One path is reported once: what was said first stays, since what
// follows is usually its consequence.
func (d *Document) Problem(path, format string, args ...any) {
	for _, p := range d.problems {
		if p.path == path {
			return
		}
	}
	d.problems = append(d.problems, problem{d.place(path), path, fmt.Sprintf(format, args...)})
}

// Err returns every problem with line and column, in their order in the
// file, joined, or nil.
func (d *Document) Err() error {
	ordered := slices.Clone(d.problems)
	slices.SortStableFunc(ordered, func(a, b problem) int { return cmp.Or(a.line-b.line, a.column-b.column) })
	joined := make([]error, 0, len(ordered))
	for _, p := range ordered {
		place := fmt.Sprintf("%s:%d:%d: ", d.name, p.line, p.column)
		if p.path != "" {
			place += p.path + ": "
		}
		joined = append(joined, errors.New(place+p.message))
	}
	return errors.Join(joined...)
}

// place returns where path stands, or the value around it.
func (d *Document) place(path string) place {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}
