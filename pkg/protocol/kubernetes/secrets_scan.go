package kubernetes

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// isDocument reports whether a text looks like an object or a list of them.
func isDocument(text []byte) bool {
	begin := bytes.TrimLeft(text, " \t\r\n")
	return len(begin) > 0 && (begin[0] == '{' || begin[0] == '[')
}

// readable decodes base64 that stands for a text.
func readable(encoded []byte) ([]byte, bool) {
	const least = 16 // shorter than any secret that a detector knows
	if len(encoded) < least || len(encoded)%4 != 0 || slices.ContainsFunc(encoded, outsideBase64) {
		return nil, false
	}
	decoded, err := base64.StdEncoding.AppendDecode(nil, encoded)
	return decoded, err == nil && utf8.Valid(decoded)
}

func outsideBase64(c byte) bool {
	return (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '+' && c != '/' && c != '='
}

// decoded is what a quoted string says. It shares its memory where it can.
func decoded(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return nil // no valid document has one
	}
	return []byte(text)
}

// appendQuoted appends a text as a JSON string.
func appendQuoted(dst, text []byte) []byte {
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return append(dst, "null"...) // no string fails
	}
	return append(dst, quoted...)
}

func skipSpace(src []byte, i int) int {
	for i < len(src) && (src[i] == ' ' || src[i] == '\t' || src[i] == '\n' || src[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns where the string that begins at i ends.
func stringEnd(src []byte, i int) int {
	for i++; src[i] != '"'; i++ {
		if src[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func scalarEnd(src []byte, i int) int {
	for i < len(src) && bytes.IndexByte([]byte(",]} \t\n\r"), src[i]) < 0 {
		i++
	}
	return i
}
