package store

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestWordsAreFoldedAndFound(t *testing.T) {
	for _, test := range []struct {
		text, typed string
		want        bool
	}{
		{"SELECT Name FROM customers", "select CUSTOMERS", true},
		{"SELECT name FROM customers", "customer", false},
		{"SELECT name FROM customers", "customer*", true},
		{"SELECT name FROM customers", `"name from cust"`, false},
		{"SELECT name FROM customers", `"name from"`, true},
		{"SELECT name FROM customers", `"from name"`, false},
		{"SELECT name FROM customers", "name.from.cust*", true},
		{"Café au lait", "cafe", true},
		{"cafe\u0301s", "cafés", true},
		{"cafe", "café", true},
		{"ΣΊΣΥΦΟΣ", "σίσυφος", false}, // a final sigma is another letter
		{"ΣΊΣΥΦΟΣ", "σισυφοσ", true},
		{"naïve 東京都 x", "東京*", true},
		{"naïve 東京都 x", "京*", false},
		{"a_b$c d", "a_b$c", true},
		{"a_b$c d", "a_b", false},
		{strings.Repeat("a", 100), strings.Repeat("a", 99), false},
		{strings.Repeat("a", 100), strings.Repeat("a", 99) + "*", true},
	} {
		words := split(fold(test.text))
		got := true
		for _, one := range readTerms(test.typed) {
			got = got && one.in(words)
		}
		if got != test.want {
			t.Errorf("%q in %q: got %v", test.typed, test.text, got)
		}
	}
}

// What the index has of a word must be found by what it has of each of its
// beginnings, or a search would miss what a record holds. This is no fuzz
// target, because instrumenting SQLite takes minutes.
func TestIndexKeepsPrefixes(t *testing.T) {
	letters := []rune("aZ9_$é東\u0301ßİ\U0001f600 .")
	for range 2000 {
		text := make([]rune, rand.IntN(100))
		for i := range text {
			text[i] = letters[rand.IntN(len(letters))]
		}
		for _, word := range split(fold(string(text))) {
			whole := indexed(word)
			if slices.ContainsFunc([]byte(whole), func(c byte) bool { return !isWord(rune(c)) }) {
				t.Fatalf("%q is not one word of the index", whole)
			}
			for cut := range word {
				if part := indexed(word[:cut]); !strings.HasPrefix(whole, part) {
					t.Fatalf("%q is indexed as %q, and its beginning %q as %q", word, whole, word[:cut], part)
				}
			}
		}
	}
}
