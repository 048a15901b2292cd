package sqltext

import (
	"bytes"
	"unicode/utf8"
)

// checkBytes refuses what the server might read as other characters than the
// parser.
func checkBytes(text []byte, isUTF8 bool) refusal {
	switch {
	case len(text) > maxText:
		return refusedSize
	case bytes.IndexByte(text, 0) >= 0:
		return refusedNUL
	case isUTF8 && !utf8.Valid(text):
		return refusedUTF8
	case !isUTF8 && !isASCII(text):
		return refusedEncoding
	}
	return ""
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
