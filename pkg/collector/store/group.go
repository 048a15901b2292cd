package store

import "unicode/utf8"

// groupWords collects the words of a group of records, each once, as the index
// has them. It uses its memory again.
type groupWords struct {
	all   []byte // with a blank behind each
	seen  map[string]bool
	parts map[string]bool // of headers whose words are there

	statement, response []byte // what was read last of either
	word                []byte
}

func (g *groupWords) begin() {
	if g.seen == nil {
		g.seen, g.parts = map[string]bool{}, map[string]bool{}
	}
	clear(g.seen)
	clear(g.parts)
	g.all, g.statement, g.response = g.all[:0], g.statement[:0], g.response[:0]
}

// after adds the words of a text that is likely to begin like the one before,
// whose words are there.
func (g *groupWords) after(before *[]byte, text []byte) {
	same := 0
	for same < len(text) && same < len(*before) && text[same] == (*before)[same] {
		same++
	}
	for same > 0 && (folded[text[same-1]] != 0 || text[same-1] >= utf8.RuneSelf) {
		same-- // the word may go on differently
	}
	*before = append((*before)[:0], text...)
	g.text(text[same:])
}

// text adds the words of a text.
func (g *groupWords) text(text []byte) {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			for _, word := range split(fold(string(text))) {
				g.add([]byte(indexed(word)))
			}
			return
		}
	}
	g.word = g.word[:0]
	for _, c := range text {
		switch c := folded[c]; {
		case c == 0:
			g.add(g.word)
			g.word = g.word[:0]
		case len(g.word) < maxWord:
			g.word = append(g.word, c)
		}
	}
	g.add(g.word)
}

func (g *groupWords) add(word []byte) {
	if len(word) == 0 || g.seen[string(word)] {
		return
	}
	g.seen[string(word)] = true
	g.all = append(append(g.all, word...), ' ')
}

// folded has the letters of ASCII that words are made of, without capitals, and 0
// for what is between words.
var folded = func() (letters [utf8.RuneSelf * 2]byte) {
	for c := range utf8.RuneSelf {
		if isWord(rune(c)) {
			letters[c] = fold(string(rune(c)))[0]
		}
	}
	return letters
}()
