package view

import (
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Printable makes text that a job or a server wrote safe for a terminal: what
// is neither printable nor a newline or tab becomes U+FFFD, so that a recorded
// escape sequence cannot rewrite what the reader sees.
func Printable(text string) string {
	if clean(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || operation.Visible(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

func clean[T string | []byte](text T) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// Flat is Printable on one line.
func Flat(text string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(Printable(text))
}

// OneLine is Flat without runs of spaces, cut to width runes.
func OneLine(text string, width int) string {
	text = strings.Join(strings.Fields(Printable(text)), " ")
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}
