package httpproxy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ReadPath decodes a path as it stands in a request. It is certain where every
// server reads the same: it has no empty, dot or dotted segments, nothing that
// some servers cut off or turn (";", "\", what folds to ASCII), and encodes
// nothing that means something or need not be encoded.
func ReadPath(escaped string) (path string, certain bool) {
	path, certain = decoded(escaped, `./\%;?#`)
	if !strings.HasPrefix(path, "/") || !utf8.ValidString(path) || strings.ContainsAny(escaped, `;\?#`) || strings.ContainsFunc(path, confusing) {
		return path, false
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		if segment == "" && !last || strings.HasSuffix(segment, ".") || strings.HasSuffix(segment, " ") {
			return path, false
		}
	}
	return path, certain
}

// ReadQuery reports whether a query, or a form in a body, is written in one way:
// a word in it cannot stand there in other letters.
func ReadQuery(escaped string) (certain bool) {
	text, certain := decoded(escaped, "")
	return certain && utf8.ValidString(text) && !strings.Contains(escaped, ";")
}

// decoded takes percent-encoding off. It is certain where what was encoded had to
// be (RFC 3986, section 2.4) and is none of those that mean more than themselves.
func decoded(escaped, meaning string) (text string, certain bool) {
	var out strings.Builder
	certain = true
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' {
			out.WriteByte(escaped[i])
			continue
		}
		if i+2 >= len(escaped) || digit(escaped[i+1]) < 0 || digit(escaped[i+2]) < 0 {
			out.WriteByte('%')
			certain = false
			continue
		}
		c := byte(digit(escaped[i+1])<<4 | digit(escaped[i+2]))
		out.WriteByte(c)
		i += 2
		certain = certain && c >= ' ' && c != 0x7f && strings.IndexByte(meaning, c) < 0 && c != '-' && c != '_' && !alphanumeric(c)
	}
	return out.String(), certain
}

// digit is the value of a hexadecimal digit; -1: it is none.
func digit(c byte) int {
	if c >= 'A' && c <= 'F' {
		c |= 0x20
	}
	return strings.IndexByte("0123456789abcdef", c)
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// confusing reports whether some servers take a character for another one, or
// for none: what folds to ASCII, full-width forms, what is no letter.
func confusing(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	case r >= 0xff00 && r <= 0xffef, !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r):
		return true
	}
	for folded := unicode.SimpleFold(r); folded != r; folded = unicode.SimpleFold(folded) {
		if folded < utf8.RuneSelf {
			return true
		}
	}
	return false
}
