package mask

import (
	"bytes"
	"encoding/json"
)

// maxJSONDepth bounds how deep a document may nest; one that nests deeper is
// not looked into.
const maxJSONDepth = 512

// MaxPaths is the most paths that may look into one column.
const MaxPaths = 64

// AppendJSON appends a JSON document (RFC 8259) with the values at the paths
// hidden, and what the set's detectors find in strings, keys and numbers. It
// says how many there were. It returns false for what is no JSON or nests too
// deeply: then nothing of it may be shown. A key that stands twice is hidden
// twice.
func (s *Set) AppendJSON(dst, key, document []byte, paths []*Path) (out []byte, masked int, ok bool) {
	if len(paths) > MaxPaths {
		return dst, 0, false
	}
	w := jsonWriter{dst: dst, key: key, src: document, paths: paths, set: s}
	alive := ^uint64(0) >> (MaxPaths - len(paths))
	if len(paths) == 0 {
		alive = 0
	}
	if !w.value(alive, 0, 0) {
		return dst, 0, false
	}
	if w.space(); w.pos < len(document) {
		return dst, 0, false
	}
	return w.dst, w.masked, true
}

// jsonWriter copies a document from src to dst. A bit set of the paths that
// still match goes down with it.
type jsonWriter struct {
	dst, key, src []byte
	pos           int
	masked        int
	paths         []*Path
	set           *Set
}

func (w *jsonWriter) peek() byte {
	if w.pos < len(w.src) {
		return w.src[w.pos]
	}
	return 0
}

// space copies white space.
func (w *jsonWriter) space() {
	end := run(w.src, w.pos, func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' })
	w.take(end)
}

// take copies up to end.
func (w *jsonWriter) take(end int) {
	w.dst = append(w.dst, w.src[w.pos:end]...)
	w.pos = end
}

// punctuation copies one byte if it is c.
func (w *jsonWriter) punctuation(c byte) bool {
	if w.peek() != c {
		return false
	}
	w.take(w.pos + 1)
	return true
}

// value copies a value that stands level keys deep.
func (w *jsonWriter) value(alive uint64, level, depth int) bool {
	w.space()
	if depth > maxJSONDepth {
		return false
	}
	switch c := w.peek(); {
	case c == '{':
		return w.object(alive, level, depth)
	case c == '[':
		return w.array(alive, level, depth)
	case c == '"':
		end := stringEnd(w.src, w.pos)
		if end < 0 {
			return false
		}
		w.text(end, "null")
		return true
	}
	end := run(w.src, w.pos, func(c byte) bool { return tokenByte(c) && c != '_' || c == '+' || c == '.' })
	if end == w.pos || !json.Valid(w.src[w.pos:end]) {
		return false
	}
	if _, _, by := w.set.Find(w.src[w.pos:end]); by != nil {
		w.dst = by.Method.AppendJSON(w.dst, w.key, w.src[w.pos:end])
		w.masked++
		w.pos = end
		return true
	}
	w.take(end)
	return true
}

// text copies a string up to end without the secrets in it; gone stands for
// one that a mask wants to be nothing.
func (w *jsonWriter) text(end int, gone string) {
	if len(w.set.Detect) == 0 {
		w.take(end)
		return
	}
	mark := len(w.dst)
	out, found, null := w.set.AppendClean(append(w.dst, '"'), w.key, w.src[w.pos+1:end-1])
	w.masked += found
	w.pos = end
	if null {
		w.dst = append(out[:mark], gone...)
		return
	}
	w.dst = append(out, '"')
}

// stringEnd returns where the string that begins at i ends, or -1.
func stringEnd(src []byte, i int) int {
	for i++; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func (w *jsonWriter) array(alive uint64, level, depth int) bool {
	w.take(w.pos + 1)
	w.space()
	if w.punctuation(']') {
		return true
	}
	for {
		if !w.value(alive, level, depth+1) {
			return false
		}
		w.space()
		if w.punctuation(']') {
			return true
		}
		if !w.punctuation(',') {
			return false
		}
	}
}

func (w *jsonWriter) object(alive uint64, level, depth int) bool {
	w.take(w.pos + 1)
	w.space()
	if w.punctuation('}') {
		return true
	}
	for {
		if !w.member(alive, level, depth) {
			return false
		}
		w.space()
		if w.punctuation('}') {
			return true
		}
		if !w.punctuation(',') {
			return false
		}
	}
}

// member copies a key and its value, or what stands for the value where a path
// ends.
func (w *jsonWriter) member(alive uint64, level, depth int) bool {
	w.space()
	end := -1
	if w.peek() == '"' {
		end = stringEnd(w.src, w.pos)
	}
	if end < 0 {
		return false
	}
	name := w.src[w.pos:end]
	w.text(end, `"`+redacted+`"`)
	w.space()
	if !w.punctuation(':') {
		return false
	}
	alive, hide, ok := w.follow(alive, level, name)
	if !ok {
		return false
	}
	if hide == nil {
		return w.value(alive, level+1, depth+1)
	}
	w.space()
	mark, from, masked := len(w.dst), w.pos, w.masked
	if !w.value(0, level+1, depth+1) {
		return false
	}
	w.masked = masked
	w.dst = hide.appendJSON(w.dst[:mark], w.key, w.src[from:w.pos])
	w.masked++
	return true
}

// follow returns the paths that a quoted key continues, and the one that it
// ends.
func (w *jsonWriter) follow(alive uint64, level int, quoted []byte) (next uint64, hide *Path, ok bool) {
	if alive == 0 {
		return 0, nil, true
	}
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var decoded string
		if json.Unmarshal(quoted, &decoded) != nil {
			return 0, nil, false
		}
		name = []byte(decoded)
	}
	for i, p := range w.paths {
		if alive&(1<<i) == 0 || level >= len(p.Keys) || p.Keys[level] != string(name) {
			continue
		}
		if level+1 == len(p.Keys) {
			return 0, p, true
		}
		next |= 1 << i
	}
	return next, nil, true
}

// appendJSON appends what stands for a value, as JSON. null stays null.
func (p *Path) appendJSON(dst, key, value []byte) []byte {
	if string(value) == "null" {
		return append(dst, value...)
	}
	return p.Method.AppendJSON(dst, key, value)
}

// AppendJSON appends what stands for a JSON value, as JSON: a string or null.
// A string is hashed without its quotes. Of other values, and of strings with
// escapes, Partial shows nothing.
func (m Method) AppendJSON(dst, key, value []byte) []byte {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	} else if m == Partial {
		m = Redact
	}
	if m == Partial && bytes.IndexByte(value, '\\') >= 0 {
		m = Redact
	}
	mark := len(dst)
	out, null := m.Apply(append(dst, '"'), key, value)
	if null {
		return append(dst[:mark], "null"...)
	}
	return append(out, '"')
}
