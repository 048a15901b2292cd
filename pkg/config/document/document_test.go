package document_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/config/document"
)

// shelf is a small file's contents.
type shelf struct {
	Label string            `yaml:"label"`
	Open  bool              `yaml:"open"`
	Count int               `yaml:"count"`
	Port  uint16            `yaml:"port"`
	Books []book            `yaml:"books"`
	Notes map[string]string `yaml:"notes"`
	Best  *book             `yaml:"best"`
}

// book is an element of a list.
type book struct {
	Title string `yaml:"title"`
}

// decode returns what text holds and what is wrong with it.
func decode(text string) (shelf, error) {
	doc, err := document.Parse("shelf.yaml", []byte(text))
	if err != nil {
		return shelf{}, err
	}
	var s shelf
	doc.Decode(&s)
	return s, doc.Err()
}

func TestEveryKindOfValueIsDecoded(t *testing.T) {
	s, err := decode("label: 12\nopen: true\ncount: -3\nport: 80\nbooks: [{title: a}, {title: b}]\nnotes: {x: y}\nbest: {title: b}\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.Label != "12" || !s.Open || s.Count != -3 || s.Port != 80 || len(s.Books) != 2 || s.Notes["x"] != "y" || s.Best.Title != "b" {
		t.Errorf("got %+v", s)
	}
}

func TestWhatDoesNotFitIsNamedByLineAndPath(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "label: a\nlable: b\n", "shelf.yaml:2:1: lable: unknown key"},
		{"unknown key in a list", "books:\n  - title: a\n  - titel: b\n", "shelf.yaml:3:5: books[1].titel: unknown key"},
		{"twice", "label: a\nlabel: b\n", "label: is written twice, on lines 1 and 2"},
		{"list for text", "label: [a]\n", "shelf.yaml:1:8: label: is a list: write a single value"},
		{"text for list", "books: a\n", "books: is a single value: write a list"},
		{"text for mapping", "best: a\n", "best: is a single value: write a mapping of title"},
		{"text for free mapping", "notes: a\n", "notes: is a single value: write a mapping"},
		{"word for number", "count: many\n", `count: "many" is not a decimal number`},
		{"octal", "count: 010\n", `count: "010" is not a decimal number`},
		{"port out of range", "port: 65536\n", "port: 65536 is out of range"},
		{"negative port", "port: -1\n", "port: -1 is out of range"},
		{"old YAML truth", "open: yes\n", `open: "yes" is not true or false`},
		{"empty value", "label:\n", "label: is empty"},
		{"empty in a list", "books:\n  -\n", "books[0]: is empty"},
		{"alias", "best: &b {title: a}\n", "best: anchors and aliases are not supported"},
		{"merge key", "best:\n  <<: {title: a}\n", "best.<<: is not a plain key"},
		{"merge key in a free mapping", "notes:\n  <<: {title: a}\n", "notes.<<: is not a plain key"},
		{"tag", "label: !!str a\n", "label: YAML tags are not supported"},
		{"list at the top", "- a\n", "shelf.yaml:1:1: is a list: write a mapping of label"},
		{"nothing", "", "shelf.yaml:1:1: is empty"},
		{"comment only", "# a\n", "is empty"},
		{"second document", "label: a\n---\nlabel: b\n", "holds more than one YAML document"},
		{"syntax", "label: a\n  open: [\n", "shelf.yaml:2: "},
		{"complex key", "{[a]: b}\n", "is not a plain key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := decode(test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAllProblemsComeInTheOrderOfTheFile(t *testing.T) {
	doc, err := document.Parse("shelf.yaml", []byte("count: x\nport: y\n"))
	if err != nil {
		t.Fatal(err)
	}
	var s shelf
	doc.Problem("port", "said first")
	doc.Decode(&s)
	doc.Problem("books[3].title", "has no place")
	want := "shelf.yaml:1:1: port: said first\nshelf.yaml:1:1: books[3].title: has no place\nshelf.yaml:1:8: count: \"x\" is not a decimal number"
	if got := doc.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAliasBombCostsNothing(t *testing.T) {
	text := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 20 {
		name, last := string(rune('b'+i)), string(rune('a'+i))
		text += name + ": &" + name + " [" + strings.Repeat("*"+last+",", 8) + "*" + last + "]\n"
	}
	if _, err := decode(text); err == nil {
		t.Error("accepted")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("label: 12\nopen: true\ncount: -3\nport: 80\nbooks: [{title: a}]\nnotes: {x: y}\nbest: {title: b}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = decode(string(text))
	})
}
