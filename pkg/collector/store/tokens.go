package store

import (
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxWord is how many bytes of a word are indexed. A longer one is found by its
// beginning, and then compared as a whole.
const maxWord = 64

// fold returns text without capitals and accents: what does not count when
// words are compared.
func fold(text string) string {
	for i := 0; i < len(text); i++ {
		if text[i] >= utf8.RuneSelf {
			return strings.Map(func(r rune) rune {
				if unicode.Is(unicode.Mn, r) {
					return -1
				}
				return unicode.ToLower(r)
			}, norm.NFD.String(text))
		}
	}
	return strings.ToLower(text)
}

// isWord reports whether a rune is part of a word: SQL's names are one.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '$'
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r)
}

// split returns the words of a text that is folded.
func split(folded string) (words []string) {
	from := -1
	for i, r := range folded {
		switch {
		case isWord(r) == (from >= 0):
		case from < 0:
			from = i
		default:
			words = append(words, folded[from:i])
			from = -1
		}
	}
	if from >= 0 {
		words = append(words, folded[from:])
	}
	return words
}

// indexed returns a word as the index has it, which knows nothing but letters
// of ASCII: a prefix stays a prefix.
func indexed(word string) string {
	word = word[:min(len(word), maxWord)]
	for i := 0; i < len(word); i++ {
		if word[i] >= utf8.RuneSelf {
			return word[:i] + "$" + hex.EncodeToString([]byte(word[i:]))
		}
	}
	return word
}

// term is a word or a phrase that somebody looks for.
type term struct {
	words  []string
	prefix bool // the last word may go on
}

// in reports whether the words of a record hold the term.
func (t *term) in(words []string) bool {
	last := len(t.words) - 1
	for at := 0; at+last < len(words); at++ {
		n := 0
		for n < last && words[at+n] == t.words[n] {
			n++
		}
		if n < last {
			continue
		}
		if word := words[at+last]; word == t.words[last] || t.prefix && strings.HasPrefix(word, t.words[last]) {
			return true
		}
	}
	return false
}

// readTerms reads what a person typed: words, phrases in double quotes, and words
// that end in a star for all that begin so.
func readTerms(typed string) []term {
	var all []term
	add := func(text string, quoted bool) {
		words := split(fold(text))
		if len(words) > 0 {
			all = append(all, term{words: words, prefix: !quoted && strings.HasSuffix(text, "*")})
		}
	}
	for i, part := range strings.Split(typed, `"`) {
		if i%2 == 1 {
			add(part, true)
			continue
		}
		for _, word := range strings.Fields(part) {
			add(word, false)
		}
	}
	return all
}

// match returns the query for the index that finds every group in which some
// record may hold all terms. In it nothing is an operator but the last star.
func match(all []term) string {
	var words []string
	for i := range all {
		for n, word := range all[i].words {
			quoted := `"` + indexed(word) + `"`
			if all[i].prefix && n == len(all[i].words)-1 {
				quoted += "*"
			}
			words = append(words, quoted)
		}
	}
	return strings.Join(words, " AND ")
}
