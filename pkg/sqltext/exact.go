package sqltext

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Exact is one statement of a text, known by its exact tokens: key words, names,
// literals and parameters as they are written. Space and comments between them
// are no part of it.
type Exact struct {
	Digest [sha256.Size]byte
	Kind   string
	Place  Place
}

// Place is where something stands in a text, both from 1; Column counts
// characters.
type Place struct{ Line, Column int }

// Problem is a reason not to know a statement by its tokens.
type Problem struct {
	Place
	Why string // holds nothing of the text
}

// exactTag separates this digest from every other one.
const exactTag = "sluice exact statement v1"

// Exactly takes a text apart into its statements. A statement that may do what
// its tokens do not show is a problem: one that is not understood, that runs SQL
// from elsewhere, defines code, calls a function which is not known to be
// harmless, moves data beside the text, or sets a secret. So is what the server
// reads differently under other settings. With a problem there are no
// statements.
func (a *Analyzer) Exactly(text []byte) ([]Exact, []Problem) {
	at := func(offset int) Place { return place(text, offset) }
	if why := checkBytes(text, true); why != "" {
		return nil, []Problem{{Place{1, 1}, string(why)}}
	}
	segments, stopped, why := segmentsOf(text)
	if why != "" {
		return nil, []Problem{{at(stopped), why}}
	}
	var found []Exact
	var problems []Problem
	for _, s := range segments {
		kind, why := a.exact(text[s.from:s.to])
		if why != "" {
			problems = append(problems, Problem{at(s.from), why})
			continue
		}
		found = append(found, Exact{Digest: s.digest, Kind: kind, Place: at(s.from)})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return found, nil
}

// exact returns the kind of a statement, or why its tokens do not show all.
func (a *Analyzer) exact(text []byte) (kind, why string) {
	analysis := a.Analyze(text, Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true})
	if !analysis.Parsed {
		return "", analysis.Why
	}
	if len(analysis.Statements) == 0 || several(analysis.Statements) {
		return "", "it is not one statement" // semicolons inside of it are not what they seem
	}
	for i := range analysis.Statements {
		if why := hidden(&analysis.Statements[i]); why != "" {
			return "", why
		}
	}
	return analysis.Statements[0].Kind, ""
}

func several(statements []Statement) bool {
	return slices.ContainsFunc(statements[1:], func(s Statement) bool { return !s.Nested })
}

// hidden says what a statement does not show.
func hidden(s *Statement) string {
	switch {
	case s.Class == operation.Procedural || s.Class == operation.UnknownSQL || s.Kind == "PREPARE":
		return s.Kind + " runs what stands elsewhere or in a string"
	case s.Secret:
		return "it sets or takes a secret"
	case s.Class == operation.Copy:
		return "COPY moves data that is no part of the text"
	case s.Class == operation.Admin:
		return s.Kind + " is for a person each time"
	case len(s.Calls) > 0:
		return "it calls the function " + s.Calls[0] + ", which may do anything"
	case s.Opaque:
		return s.Kind + " may do what its text does not show"
	}
	return ""
}

// segment is one statement's part of a text.
type segment struct {
	from, to int
	digest   [sha256.Size]byte
}

// segmentsOf cuts a text at the semicolons outside of brackets. why is set where
// the text means something else under other settings.
func segmentsOf(text []byte) (segments []segment, stopped int, why string) {
	lex := lexer{text: text, scs: true}
	h := sha256.New()
	from, depth := -1, 0
	end := func() {
		if from >= 0 {
			segments = append(segments, segment{from, lex.start, [sha256.Size]byte(h.Sum(nil))})
		}
		from, depth = -1, 0
	}
	for {
		t := lex.next()
		written := text[lex.start:lex.pos]
		switch {
		case t == tokEnd:
			end()
			return segments, 0, ""
		case t == tokInvalid:
			return nil, lex.start, string(refusedToken)
		case t == tokUString || t == tokUQuoted:
			return nil, lex.start, "U& depends on what follows and on settings: write the characters"
		case t == tokString && written[0] == '\'' && bytes.IndexByte(written, '\\') >= 0:
			return nil, lex.start, "a backslash in '…' depends on settings: write E'…'"
		case t == tokOperator && string(written) == ";" && depth <= 0:
			end()
			continue
		case t == tokOperator && (written[0] == '(' || written[0] == '['):
			depth++
		case t == tokOperator && (written[0] == ')' || written[0] == ']'):
			depth--
		}
		if from < 0 {
			from = lex.start
			h.Reset()
			h.Write([]byte(exactTag))
		}
		h.Write(binary.BigEndian.AppendUint32([]byte{byte(t)}, uint32(len(written))))
		h.Write(written)
	}
}

// place returns where an offset is.
func place(text []byte, offset int) Place {
	before := text[:offset]
	line := bytes.Count(before, []byte("\n"))
	start := bytes.LastIndexByte(before, '\n') + 1
	return Place{line + 1, utf8.RuneCount(before[start:]) + 1}
}
