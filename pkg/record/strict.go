package record

import (
	"encoding/json"
	"errors"
)

// encoding/json takes the last of two equal keys and matches keys without
// regard to case, so that two readers of the same signed bytes could read two
// meanings. checkKeys leaves one.

// maxKeys bounds the keys of an object of the schema; maxDepth its nesting.
const (
	maxKeys  = 64
	maxDepth = 64
)

var (
	errKey   = errors.New("a key that is not lower case letters, digits and underscores")
	errTwice = errors.New("a key twice")
	errDeep  = errors.New("too deep or too many keys")
)

// checkKeys walks data, which encoding/json has already accepted. In objects
// of the schema a key is [a-z0-9_]+ and stands once; in maps whose keys others
// choose (labels, environment, claims) it stands once; extra is somebody
// else's document and is not looked into.
func checkKeys(data []byte) error {
	w := walker{data: data}
	return w.value(false, 0)
}

type walker struct {
	data []byte
	pos  int
}

// value skips one JSON value. free says that its keys are not of the schema.
func (w *walker) value(free bool, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	switch w.next() {
	case '{':
		return w.object(free, depth)
	case '[':
		return w.array(free, depth)
	case '"':
		w.skipString()
	default: // a number, true, false or null
		for w.pos < len(w.data) && !isDelimiter(w.data[w.pos]) {
			w.pos++
		}
	}
	return nil
}

func (w *walker) object(free bool, depth int) error {
	w.pos++ // the brace
	var few [maxKeys]string
	keys := few[:0]
	var many map[string]bool
	if free {
		many = map[string]bool{}
	}
	for w.next() == '"' {
		raw := w.skipString()
		key, err := unquoteKey(raw, free)
		if err != nil {
			return err
		}
		if free {
			if many[key] {
				return errTwice
			}
			many[key] = true
		} else {
			if len(keys) == maxKeys {
				return errDeep
			}
			for _, k := range keys {
				if k == key {
					return errTwice
				}
			}
			keys = append(keys, key)
		}
		w.next() // the colon
		w.pos++
		if !free && key == "extra" {
			w.skipForeign()
		} else if err := w.value(free || isFree(key), depth+1); err != nil {
			return err
		}
		if w.next() == ',' {
			w.pos++
		}
	}
	w.pos++
	return nil
}

func (w *walker) array(free bool, depth int) error {
	w.pos++
	for w.next() != ']' {
		if err := w.value(free, depth+1); err != nil {
			return err
		}
		if w.next() == ',' {
			w.pos++
		}
	}
	w.pos++
	return nil
}

// next skips white space and returns the byte that stands there; at the end,
// a closing bracket, which ends every loop.
func (w *walker) next() byte {
	for w.pos < len(w.data) {
		switch c := w.data[w.pos]; c {
		case ' ', '\t', '\r', '\n':
			w.pos++
		default:
			return c
		}
	}
	return ']'
}

// skipString skips a string and returns it without its quotes.
func (w *walker) skipString() []byte {
	w.pos++
	start := w.pos
	for w.pos < len(w.data) && w.data[w.pos] != '"' {
		if w.data[w.pos] == '\\' {
			w.pos++
		}
		w.pos++
	}
	raw := w.data[start:min(w.pos, len(w.data))]
	w.pos++
	return raw
}

// skipForeign skips a value without looking at its keys.
func (w *walker) skipForeign() {
	for depth := 0; w.pos < len(w.data); {
		switch w.next() {
		case '{', '[':
			depth++
			w.pos++
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			w.pos++
		case '"':
			w.skipString()
		case ',':
			if depth == 0 {
				return
			}
			w.pos++
		default:
			w.pos++
		}
	}
}

func unquoteKey(raw []byte, free bool) (string, error) {
	if !free {
		for _, c := range raw {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
				return "", errKey
			}
		}
		return string(raw), nil
	}
	var key string
	quoted := append(append([]byte{'"'}, raw...), '"')
	if err := json.Unmarshal(quoted, &key); err != nil {
		return "", errKey
	}
	return key, nil
}

// isFree names the maps of the schema whose keys others choose.
func isFree(key string) bool {
	return key == "labels" || key == "env" || key == "verified"
}

func isDelimiter(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}
