package httpproxy

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// escapes are what may begin a character that is not written as itself: in JSON,
// in a URL, in HTML.
const escapes = `\%&`

// longestEscape is how long a character can be that is not written as itself.
const longestEscape = 8

// secretive hides secrets in what a server answers, which may show a request's
// own header: each is overwritten with as many stars, so that lengths stay.
// Each of its letters may be escaped; what is encoded otherwise is not found.
type secretive struct {
	secrets [][]byte
	begins  [256]bool     // what one of them may begin with
	forms   [256][][]byte // how else their characters may be written
}

// newSecretive takes secrets that are not empty.
func newSecretive(secrets [][]byte) *secretive {
	s := &secretive{secrets: secrets}
	for _, secret := range secrets {
		s.begins[secret[0]] = true
		for _, c := range secret {
			if s.forms[c] == nil {
				s.forms[c] = written(c)
			}
		}
	}
	for _, c := range []byte(escapes) {
		s.begins[c] = true
	}
	return s
}

// hide overwrites secrets, and returns how much of the text is decided: behind
// it may stand the beginning of one, unless the text is whole.
func (s *secretive) hide(text []byte, whole bool) (decided int) {
	for at := 0; at < len(text); {
		if !s.begins[text[at]] {
			at++
			continue
		}
		length, more := s.find(text[at:])
		switch {
		case length > 0:
			for i := range length {
				text[at+i] = '*'
			}
			at += length
		case more && !whole:
			return at
		default:
			at++
		}
	}
	return len(text)
}

// find looks for a secret at the beginning of a text. more says that what
// follows may make it one.
func (s *secretive) find(text []byte) (length int, more bool) {
	for _, secret := range s.secrets {
		n, cut := s.plainly(text, secret)
		if n > 0 {
			return n, false
		}
		more = more || cut
	}
	return 0, more
}

// plainly is escaped, fast where nothing is.
func (s *secretive) plainly(text, secret []byte) (length int, cut bool) {
	for i, c := range secret {
		switch {
		case i == len(text):
			return 0, true
		case strings.IndexByte(escapes, text[i]) >= 0:
			return s.escaped(text, secret)
		case text[i] != c:
			return 0, false
		}
	}
	return len(secret), false
}

// escaped is how much of the text stands for a secret; 0 for none. cut says that
// the text ends in the middle of it. A character may be one that is written as
// itself and the beginning of another: each reading is followed.
func (s *secretive) escaped(text, secret []byte) (length int, cut bool) {
	ends, next := make([]int, 1, 8), make([]int, 0, 8)
	for _, c := range secret {
		next = next[:0]
		for _, end := range ends {
			rest := text[end:]
			cut = cut || len(rest) == 0 || strings.IndexByte(escapes, rest[0]) >= 0 && len(rest) < longestEscape
			next = s.character(next, rest, end, c)
		}
		if len(next) == 0 {
			return 0, cut
		}
		ends, next = next, ends
	}
	return slices.Max(ends), false
}

// character appends where a character ends that stands at the beginning of a
// text: as itself, or as JSON, URLs and HTML write it.
func (s *secretive) character(to []int, text []byte, at int, is byte) []int {
	if len(text) > 0 && text[0] == is {
		to = append(to, at+1)
	}
	if len(text) == 0 || strings.IndexByte(escapes, text[0]) < 0 {
		return to
	}
	for _, form := range s.forms[is] {
		if len(text) >= len(form) && bytes.EqualFold(text[:len(form)], form) && !slices.Contains(to, at+len(form)) {
			to = append(to, at+len(form))
		}
	}
	return to
}

// written are the ways to write a character other than as itself.
func written(c byte) [][]byte {
	forms := [][]byte{fmt.Appendf(nil, `\u%04x`, c), fmt.Appendf(nil, "%%%02x", c), fmt.Appendf(nil, "&#x%x;", c), fmt.Appendf(nil, "&#%d;", c)}
	if c == '"' || c == '\\' || c == '/' {
		forms = append(forms, []byte{'\\', c})
	}
	if name := html.EscapeString(string(rune(c))); c < utf8.RuneSelf && len(name) > 1 {
		forms = append(forms, []byte(name))
	}
	return forms
}

// header hides secrets in the fields of an answer, names too.
func (s *secretive) header(header http.Header) {
	for name, values := range header {
		if s.named(name) {
			delete(header, name)
			continue
		}
		for i, value := range values {
			if text := []byte(value); s.hidden(text) {
				values[i] = string(text)
			}
		}
	}
}

// named reports whether the name of a field, whose case is nobody's, has a secret.
func (s *secretive) named(name string) bool {
	return slices.ContainsFunc(s.secrets, func(secret []byte) bool {
		return strings.Contains(strings.ToLower(name), strings.ToLower(string(secret)))
	})
}

// hidden hides secrets in a whole text and reports whether there were any.
func (s *secretive) hidden(text []byte) bool {
	before := string(text)
	s.hide(text, true)
	return before != string(text)
}

// body is an answer's body without secrets.
func (s *secretive) body(from io.ReadCloser) io.ReadCloser {
	return &withoutSecrets{ReadCloser: from, secretive: s}
}

// withoutSecrets reads a body. What may be the beginning of a secret is kept back
// until more comes.
type withoutSecrets struct {
	io.ReadCloser
	*secretive
	held []byte // what was read and not given out
	safe int    // how much of it may be
	err  error  // that ended the reading
}

// Read implements io.Reader.
func (b *withoutSecrets) Read(p []byte) (int, error) {
	for b.safe == 0 && b.err == nil {
		at := len(b.held)
		b.held = append(b.held, make([]byte, min(max(len(p), 512), pieceBytes))...)
		n, err := b.ReadCloser.Read(b.held[at:])
		b.held, b.err = b.held[:at+n], err
		b.safe = b.hide(b.held, errors.Is(err, io.EOF))
	}
	if b.safe == 0 {
		return 0, b.err // half a secret is no end
	}
	n := copy(p, b.held[:b.safe])
	b.held, b.safe = append(b.held[:0], b.held[n:]...), b.safe-n
	return n, nil
}
