package approval

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Before is what the requester did before it asked, as its agent saw it.
type Before struct {
	Operations uint64 `json:"operations"` // of the session
	Denied     uint64 `json:"denied"`     // of these
	Masked     uint64 `json:"masked"`     // values of its answers
	// Same is how often the job was allowed a text that differs only in values,
	// in any session, and First what it would do for the first time, as in
	// "DELETE orders". Whole says that the agent remembers all that the job did.
	Same  uint64   `json:"same"`
	First []string `json:"first,omitempty"`
	Whole bool     `json:"whole"`
}

// Shape says in words how often the job ran the same shape before.
func (b *Before) Shape() string {
	switch {
	case b.Same == 1:
		return "the job ran this shape once before"
	case b.Same > 1:
		return fmt.Sprintf("the job ran this shape %d times before", b.Same)
	case b.Whole:
		return "the job has not run this shape before"
	}
	return "the job may have run this shape before: not everything is remembered"
}

// maxShown bounds each list that is shown.
const maxShown = 24

// printable returns r with every text that is shown made safe, and its times
// in the one form that survives encoding.
func (r Request) printable() Request {
	r.Created, r.NotAfter = r.Created.Round(0).UTC(), r.NotAfter.Round(0).UTC()
	r.Text = headed(r.Text)
	r.Reason = Printable(r.Reason, maxNote)
	r.Asks = Printable(r.Asks, maxNote)
	q := &r.Requester
	for _, text := range []*string{
		&q.Name, &q.Image, &q.Exe, &q.Product, &q.Commit, &q.Run, &r.Where.Database, &r.Where.Role, &r.Where.SearchPath,
	} {
		*text = Printable(*text, maxNote)
	}
	q.Evidence = printables(q.Evidence)
	if r.Before != nil {
		before := *r.Before
		before.First = printables(before.First)
		r.Before = &before
	}
	if r.Reach != nil {
		r.Reach = printableReach(r.Reach)
	}
	return r
}

// brief is r without what only explains it.
func (r Request) brief() Request {
	r.Requester.Evidence = nil
	if r.Reach != nil {
		r.Reach = &operation.Reach{Unknown: "it is too much to be shown"}
	}
	if r.Before != nil {
		before := *r.Before
		before.First, before.Whole = nil, false
		r.Before = &before
	}
	return r
}

func printableReach(from *operation.Reach) *operation.Reach {
	reach := &operation.Reach{Unknown: Printable(from.Unknown, maxNote)}
	for _, s := range from.Statements[:min(len(from.Statements), maxShown)] {
		s.Kind, s.Unknown = Printable(s.Kind, maxNote), Printable(s.Unknown, maxNote)
		s.Relations = slices.Clone(s.Relations[:min(len(s.Relations), maxShown)])
		for i := range s.Relations {
			relation := &s.Relations[i]
			relation.Name = Printable(relation.Name, maxNote)
			relation.Dependants = printables(relation.Dependants)
		}
		reach.Statements = append(reach.Statements, s)
	}
	return reach
}

// printables makes a list safe, and says how much of it is cut.
func printables(list []string) (shown []string) {
	for _, text := range list[:min(len(list), maxShown)] {
		shown = append(shown, Printable(text, maxNote))
	}
	if more := len(list) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return shown
}

// A glance is what people see of a text without scrolling: so many lines of so
// many bytes.
const (
	glanceLines = 24
	glanceLine  = 100
)

// headed is a text with its size ahead of it where a glance does not show it
// all, so that nothing hides behind blank lines, or where it is cut.
func headed(text string) string {
	shown, rest := printable(text, maxText)
	lines := 1
	for line := range strings.Lines(shown) {
		lines += 1 + len(line)/glanceLine
	}
	switch {
	case rest > 0:
		return fmt.Sprintf("[only the first %d of %d bytes are shown]\n%s", len(text)-rest, len(text), shown)
	case lines > glanceLines:
		return fmt.Sprintf("[%d bytes, %d lines: read to the end]\n%s", len(text), strings.Count(text, "\n")+1, shown)
	}
	return shown
}

// Printable returns text with everything escaped that could deceive a reader:
// control characters other than newline and tab, invisible and
// direction-changing characters, invalid UTF-8. What is beyond limit bytes is
// cut, and the cut is stated.
func Printable(text string, limit int) string {
	shown, _ := printable(text, limit)
	return shown
}

// printable also returns how many bytes of text are cut.
func printable(text string, limit int) (shown string, rest int) {
	var out strings.Builder
	for i, r := range text {
		if out.Len() >= limit {
			fmt.Fprintf(&out, "… (%d more bytes)", len(text)-i)
			return out.String(), len(text) - i
		}
		switch {
		case r == utf8.RuneError:
			out.WriteRune(r)
		case r == '\n' || r == '\t' || operation.Visible(r):
			out.WriteRune(r)
		default:
			fmt.Fprintf(&out, "\\u{%04X}", r)
		}
	}
	return out.String(), 0
}
