package sqltext

import "bytes"

// maxSeals bounds how many literals of one text are sealed one by one. What
// stands behind the last of them is sealed as one: a text of a million numbers
// must not cost a million hashes.
const maxSeals = 4096

// Seal appends text to dst with each literal and comment replaced by what seal
// appends for it. What stays are key words, identifiers, operators, parameters
// and the space between them. A literal is given by its value where its quotes
// simply go around it, so that equal values can be told however they are
// quoted, and otherwise as it is written. A text that cannot be cut into tokens
// is sealed as a whole.
//
// Behind the name of a secret and = or TO, outside of queries, words are sealed
// too: SET takes them as values.
func Seal(dst, text []byte, opt Options, seal func(dst, value []byte) []byte) []byte {
	return SealSome(dst, text, opt, func([]byte) bool { return true }, seal)
}

// SealSome is Seal of only those literals and comments that wanted reports
// true for; it is given what is written, quotes included.
func SealSome(dst, text []byte, opt Options, wanted func(written []byte) bool, seal func(dst, value []byte) []byte) []byte {
	if checkBytes(text, opt.UTF8) != "" {
		return seal(dst, text)
	}
	s := sealer{lexer: lexer{text: text, scs: opt.StandardConformingStrings}, wanted: wanted, seal: seal, dst: dst}
	for s.seals < maxSeals {
		from := s.pos
		t := s.next()
		if t == tokInvalid {
			return seal(dst, text)
		}
		s.gap(text[from:s.start])
		if t == tokEnd {
			return s.dst
		}
		s.token(t, text[s.start:s.pos])
	}
	if s.pos < len(text) {
		return seal(s.dst, text[s.pos:])
	}
	return s.dst
}

// sealer is a text that is being sealed.
type sealer struct {
	lexer
	wanted func(written []byte) bool
	seal   func(dst, value []byte) []byte
	dst    []byte
	seals  int

	inside  bool // a statement has begun
	query   bool // it is one in which = compares or assigns expressions
	secret  bool // the last word is a secret's name
	assigns bool // a secret's name and = or TO went before
}

func (s *sealer) put(value []byte) {
	s.dst = s.seal(s.dst, value)
	s.seals++
}

func (s *sealer) token(t token, written []byte) {
	value, literal := literalValue(t, written, s.backslash)
	word := t == tokWord || t == tokQuoted || t == tokUQuoted
	switch {
	case (literal || word && s.assigns) && s.wanted(written):
		s.put(value)
	default:
		s.dst = append(s.dst, written...)
	}
	s.follow(t, word, written)
}

// follow keeps track of where in a statement the text is.
func (s *sealer) follow(t token, word bool, written []byte) {
	switch {
	case t == tokOperator && (written[0] == ';' || written[0] == ')'):
		s.assigns, s.secret = false, false
		s.inside = s.inside && written[0] != ';'
		return
	case !s.inside:
		s.inside = true
		s.query = isQueryWord(written)
	}
	to := t == tokWord && bytes.EqualFold(written, []byte("to"))
	equals := t == tokOperator && len(written) == 1 && written[0] == '='
	s.assigns = s.assigns || s.secret && (to || equals)
	s.secret = !s.query && word && NamesSecret(written)
}

// isQueryWord reports whether a statement that begins so holds expressions.
func isQueryWord(word []byte) bool {
	for _, query := range [...]string{"select", "insert", "update", "delete", "merge", "with", "values", "table"} {
		if bytes.EqualFold(word, []byte(query)) {
			return true
		}
	}
	return false
}

// gap copies white space and seals the comments in it.
func (s *sealer) gap(space []byte) {
	for i := 0; i < len(space); {
		end := i
		for end < len(space) && classOf[space[end]]&spaceByte != 0 {
			end++
		}
		s.dst = append(s.dst, space[i:end]...)
		if end == len(space) {
			return
		}
		comment := lexer{text: space, pos: end}
		if space[end] == '-' {
			comment.pos = lineEnd(space, end)
		} else {
			comment.skipComment()
		}
		if s.wanted(space[end:comment.pos]) {
			s.put(space[end:comment.pos])
		} else {
			s.dst = append(s.dst, space[end:comment.pos]...)
		}
		i = comment.pos
	}
}

// literalValue returns what a token is sealed by, and whether it is a literal.
func literalValue(t token, written []byte, backslash bool) (value []byte, literal bool) {
	switch t {
	case tokInteger, tokNumber:
		return written, true
	case tokString, tokUString, tokBits, tokHex:
	default:
		return written, false
	}
	if written[0] == '$' {
		tag := bytes.IndexByte(written[1:], '$') + 2
		return written[tag : len(written)-tag], true
	}
	first := bytes.IndexByte(written, '\'') + 1
	body := written[first : len(written)-1]
	escapes := (first > 1 || backslash) && bytes.IndexByte(body, '\\') >= 0
	if escapes || t == tokUString || bytes.IndexByte(body, '\'') >= 0 {
		return written, true
	}
	return body, true
}
