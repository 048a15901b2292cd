package mysqltext

import (
	"bytes"
	"unicode/utf8"
)

// A shape is the text's tokens, one space between them, each literal replaced
// by one of these bytes. They stand for themselves: the lexer refuses them
// outside quotes. Two texts of one shape have the same tokens but for the
// values of their literals, and for how many rows of them VALUES and IN have.
const (
	anyString  = 0x01
	anyInteger = 0x02
	anyNumber  = 0x03
	anyHex     = 0x04
	anyBits    = 0x05
	aName      = 0x06 // the word behind it is a name, whatever it is
	aCall      = 0x07 // the bracket behind it stands directly behind a word
)

const (
	// maxParsed bounds what goes to the parser, in bytes.
	maxParsed = 64 << 10
	// maxText bounds what is read at all, in bytes. It is more than the server
	// takes by default (max_allowed_packet).
	maxText = 64 << 20
	// maxTokens bounds the tokens of a text, without repeated rows.
	maxTokens = 32 << 10
	// maxNesting bounds brackets in brackets.
	maxNesting = 200
)

// refusal says why a text was not understood. It is shown to people and holds
// nothing of the text.
type refusal string

const (
	refusedEncoding refusal = "the text is not ASCII and the client's character set is not UTF-8"
	refusedToken    refusal = "the text holds something that is not a SQL token"
	refusedComment  refusal = "the text holds a comment that the server may run, and nobody knows which part of it"
	refusedSize     refusal = "the text is too large to parse"
	refusedNesting  refusal = "the text is nested too deeply"
	refusedSyntax   refusal = "the parser does not accept the text"
	refusedKind     refusal = "the text is no statement that is known"
	refusedMode     refusal = "a statement changes how those behind it are read: send them by themselves"
	refusedCharset  refusal = "the text names a character set in which a quote may be half a letter"
)

// scratch is the working memory of one analysis. It is reused.
type scratch struct {
	text   []byte
	opt    Options
	tokens []token
	groups []group // the open brackets
	shape  []byte
	key    []byte // of the whole text
	exact  bool   // a string may be a name: compare whole texts

	row group // the last row of literals, of which others may follow
}

// group is a bracket, by the tokens that it stands between.
type group struct {
	open, close int
	commas      int
	plain       bool // it has literals and commas only
	values, in  bool // VALUES or IN stands before it, or such a row
}

// read lexes text into s.tokens and s.shape.
func (s *scratch) read(text []byte, opt Options) refusal {
	text = trimEnd(text)
	s.text, s.opt, s.exact = text, opt, false
	s.tokens, s.groups, s.shape, s.row = s.tokens[:0], s.groups[:0], s.shape[:0], group{}
	if len(text) > maxText {
		return refusedSize
	}
	if !opt.UTF8 && bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return refusedEncoding
	}
	lex := lexer{text: text, opt: opt}
	for {
		t := lex.next()
		switch t.kind {
		case tokEnd:
			return s.finish()
		case tokInvalid:
			return lex.why
		case tokWord, tokQuoted, tokUserVar:
			if !utf8.Valid(text[t.start:t.end]) {
				return refusedToken
			}
		}
		s.tokens = append(s.tokens, t)
		if why := s.follow(); why != "" {
			return why
		}
		if len(s.tokens) > maxTokens {
			return refusedSize
		}
	}
}

// trimEnd takes space and semicolons away as the server does before it reads a
// text: with nothing behind it, -- is a comment.
func trimEnd(text []byte) []byte {
	for n := len(text); n > 0 && (text[n-1] == ';' || classOf[text[n-1]]&spaceByte != 0); n = len(text) {
		text = text[:n-1]
	}
	return text
}

func (s *scratch) written(t token) []byte { return s.text[t.start:t.end] }

// op reports whether a token is an operator of one character.
func (s *scratch) op(t token, c byte) bool {
	return t.kind == tokOp && t.end-t.start == 1 && s.text[t.start] == c
}

// word reports whether a token is the key word, given in lower case.
func (s *scratch) word(t token, keyword string) bool {
	if t.kind != tokWord || t.named || t.dotted || t.end-t.start != len(keyword) {
		return false
	}
	for i := range len(keyword) {
		if lower(s.text[t.start+i]) != keyword[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// follow keeps track of brackets, and drops rows of literals behind the first:
// they tell nothing, and there may be a million.
func (s *scratch) follow() refusal {
	last := len(s.tokens) - 1
	t := s.tokens[last]
	if s.op(t, '(') {
		return s.open(last)
	}
	if len(s.groups) == 0 {
		return ""
	}
	g := &s.groups[len(s.groups)-1]
	switch {
	case s.op(t, ')'):
		s.shut(last)
	case s.op(t, ','):
		g.commas++
	case !s.literal(t):
		g.plain = false
	}
	return ""
}

func (s *scratch) open(at int) refusal {
	g := group{open: at, plain: true}
	if at > 0 {
		before := s.tokens[at-1]
		g.values, g.in = s.word(before, "values"), s.word(before, "in")
		if s.op(before, ',') && s.row.values && s.row.close == at-2 {
			g.values = true
		}
	}
	for i := range s.groups {
		s.groups[i].plain = false
	}
	s.groups = append(s.groups, g)
	if len(s.groups) > maxNesting {
		return refusedNesting
	}
	return ""
}

func (s *scratch) shut(at int) {
	g := s.groups[len(s.groups)-1]
	s.groups = s.groups[:len(s.groups)-1]
	g.close = at
	switch {
	case !g.plain:
		return
	case g.in && g.commas > 0:
		first := g.open + 1
		for !s.op(s.tokens[first], ',') {
			first++
		}
		s.tokens[first] = s.tokens[at]
		s.tokens = s.tokens[:first+1]
	case g.values && s.row.values && s.row.close == g.open-2 && s.row.commas == g.commas:
		s.tokens = s.tokens[:s.row.close+1]
	case g.values:
		s.row = g
	}
}

// literal reports whether a token may be part of a constant.
func (s *scratch) literal(t token) bool {
	switch t.kind {
	case tokString, tokInteger, tokNumber, tokHex, tokBits, tokNull:
		return true
	case tokOp:
		return s.op(t, '-') || s.op(t, '+')
	case tokWord:
		return s.word(t, "null") || s.word(t, "default") || s.word(t, "_binary") || s.word(t, "true") || s.word(t, "false")
	}
	return false
}

// finish makes the shape of the tokens.
func (s *scratch) finish() refusal {
	s.shape = s.opt.appendKey(s.shape, false)
	for i, t := range s.tokens {
		switch t.kind {
		case tokString:
			s.shape = append(s.shape, anyString)
			s.exact = s.exact || i > 0 && !s.precedesValue(s.tokens[i-1])
		case tokInteger:
			s.shape = append(s.shape, anyInteger)
		case tokNumber:
			s.shape = append(s.shape, anyNumber)
		case tokHex:
			s.shape = append(s.shape, anyHex)
		case tokBits:
			s.shape = append(s.shape, anyBits)
		default:
			if t.named || t.dotted {
				s.shape = append(s.shape, aName)
			}
			if s.calls(i) {
				s.shape = append(s.shape, aCall)
			}
			s.shape = append(s.shape, s.written(t)...)
		}
		s.shape = append(s.shape, ' ')
	}
	return ""
}

// wholeKey is what the text itself is remembered by.
func (s *scratch) wholeKey() []byte {
	s.key = append(s.opt.appendKey(s.key[:0], true), s.text...)
	return s.key
}

// calls reports whether token i is a bracket that makes a call of the word
// before it.
func (s *scratch) calls(i int) bool {
	return i > 0 && s.op(s.tokens[i], '(') && s.touches(s.tokens[i]) && s.tokens[i-1].kind == tokWord
}

// touches reports whether a bracket stands directly behind what is before it,
// as far as the server minds. Comments are never ignored.
func (s *scratch) touches(t token) bool {
	return !t.spaced || s.opt.IgnoreSpace && !t.commented
}

// valueWords are reserved key words behind which a string is a value, and no name.
var valueWords = [...]string{
	"like", "in", "and", "or", "not", "xor", "when", "then", "else", "case", "between", "select", "where", "having", "on",
	"regexp", "rlike", "div", "mod", "values", "distinct", "all", "by", "binary", "interval", "_binary",
}

// precedesValue reports whether a string behind t is a value; otherwise it may
// be an alias, or something of a statement that we need not know.
func (s *scratch) precedesValue(t token) bool {
	switch t.kind {
	case tokOp:
		return !s.op(t, ')') && !s.op(t, '}') && !s.op(t, ']') && !s.op(t, '.')
	case tokWord:
		for _, keyword := range valueWords {
			if s.word(t, keyword) {
				return true
			}
		}
	}
	return false
}

// appendKey appends what of the options decides the meaning of a shape, or of
// a whole text.
func (opt Options) appendKey(dst []byte, whole bool) []byte {
	bits, at := byte(0), 0
	for _, set := range [...]bool{
		whole, opt.MariaDB, opt.LowerNames, opt.ANSIQuotes, opt.PipesAsConcat, opt.HighNotPrecedence,
		whole && opt.NoBackslashEscapes, whole && opt.IgnoreSpace,
	} {
		if set {
			bits |= 1 << at
		}
		at++
	}
	dst = append(dst, bits)
	if whole {
		dst = append(dst, byte(opt.Version>>16), byte(opt.Version>>8), byte(opt.Version))
	}
	return dst
}
