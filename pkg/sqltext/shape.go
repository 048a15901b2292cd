package sqltext

// A shape is the text's tokens, one space between them, each literal replaced
// by one of these bytes. They stand for themselves: the lexer refuses them
// outside quotes. Two texts of one shape have the same tokens but for the
// values of their literals.
const (
	anyString  = 0x01
	anyInteger = 0x02
	anyNumber  = 0x03
	anyBits    = 0x04
	anyHex     = 0x05
	national   = 0x06 // the N of N'…': N '…' is something else
)

const (
	// maxParsed bounds what goes to the parser, in bytes. A statement of this
	// size takes it 50 to 500 ms.
	maxParsed = 64 << 10
	// maxText bounds what is read at all, in bytes.
	maxText = 16 << 20
	// longLiteral is the size in bytes from which a literal is left out of the
	// text that is parsed in place of one above maxParsed.
	longLiteral = 32
)

// scratch is the working memory of one analysis. It is reused.
type scratch struct {
	shape   []byte
	nesting nesting
	exact   bool // a literal may decide what a name is: compare whole texts

	compact   []byte // the tokens, one space between them
	compacted bool   // parse compact in place of the text
	shortened bool   // compact has short literals in place of long ones: believe the parser only where no literal matters
}

// refusal says why a text was not understood. It is shown to people and holds
// nothing of the text.
type refusal string

const (
	refusedNUL      refusal = "the text holds a NUL byte"
	refusedUTF8     refusal = "the text is not valid UTF-8"
	refusedEncoding refusal = "the text is not ASCII and the client's encoding is not UTF-8"
	refusedName     refusal = "the server's encoding is not UTF-8, and a name is not ASCII"
	refusedToken    refusal = "the text holds something that is not a SQL token"
	refusedSize     refusal = "the text is too large to parse"
	refusedNesting  refusal = "the text is nested too deeply"
	refusedSyntax   refusal = "the parser does not accept the text"
	refusedParser   refusal = "the parser is out of order"
)

// read lexes text into s.shape, and into s.compact where the text itself will
// not be parsed: when it is too large, or when backslashes must be spelt out
// because standard_conforming_strings is off.
func (s *scratch) read(text []byte, opt Options) refusal {
	scs := opt.StandardConformingStrings
	s.shape, s.compact = s.shape[:0], s.compact[:0]
	s.nesting.reset()
	s.exact = false
	s.shortened = false
	s.compacted = len(text) > maxParsed || !scs
	lex := lexer{text: text, scs: scs}
	for {
		t := lex.next()
		switch t {
		case tokEnd:
			return ""
		case tokInvalid:
			return refusedToken
		}
		written := text[lex.start:lex.pos]
		if opt.Folds && folded(t, written) {
			return refusedName
		}
		if !s.nesting.add(t, written) {
			return refusedNesting
		}
		s.shape = appendShape(s.shape, t, written)
		s.exact = s.exact || t == tokUQuoted || t == tokUString
		if s.compacted {
			s.appendCompact(t, written, len(text) > maxParsed, lex.backslash)
		}
		if len(s.shape) > maxParsed || len(s.compact) > maxParsed {
			return refusedSize
		}
	}
}

// maxName is the size of the longest name in bytes, NAMEDATALEN less one. The
// server cuts off the rest.
const maxName = 63

// folded reports whether a token is a name that a server whose encoding is not
// UTF-8 may read otherwise.
func folded(t token, written []byte) bool {
	switch t {
	case tokWord:
		return !isASCII(written)
	case tokQuoted:
		return len(written) > maxName && !isASCII(written)
	}
	return t == tokUQuoted
}

func appendShape(dst []byte, t token, written []byte) []byte {
	switch t {
	case tokString:
		dst = append(dst, anyString)
	case tokInteger:
		dst = append(dst, anyInteger)
	case tokNumber:
		dst = append(dst, anyNumber)
	case tokBits:
		dst = append(dst, anyBits)
	case tokHex:
		dst = append(dst, anyHex)
	case tokNational:
		dst = append(dst, national)
	default:
		dst = append(dst, written...)
	}
	return append(dst, ' ')
}

// appendCompact appends a token as the parser, which always has
// standard_conforming_strings on, must see it. In a text that is too large,
// long literals become short ones.
func (s *scratch) appendCompact(t token, written []byte, large, backslash bool) {
	if short := shortLiteral(t); large && short != "" && len(written) > longLiteral {
		s.shortened = true
		s.compact = append(s.compact, short...)
		return
	}
	switch {
	case t == tokNational:
		s.compact = append(s.compact, "NCHAR"...)
	case backslash:
		s.compact = append(s.compact, 'E')
		s.compact = append(s.compact, written...)
	default:
		s.compact = append(s.compact, written...)
	}
	s.compact = append(s.compact, ' ')
}

// shortLiteral returns a literal for any of its kind, "" for other tokens.
func shortLiteral(t token) string {
	switch t {
	case tokString:
		return "'' "
	case tokBits:
		return "b'0' "
	case tokHex:
		return "x'0' "
	case tokNumber:
		return "0.5 "
	}
	return ""
}
