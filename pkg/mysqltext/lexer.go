package mysqltext

import "bytes"

// tokenKind sorts tokens by what MySQL's lexer (sql_lex.cc) makes of them.
type tokenKind uint8

const (
	tokEnd     tokenKind = iota
	tokInvalid           // nothing that we know how the server reads
	tokWord              // a key word or a name without quotes
	tokQuoted            // a name in backquotes, or in "…" under ANSI_QUOTES
	tokString            // '…', "…" or N'…'
	tokInteger
	tokNumber
	tokHex
	tokBits
	tokUserVar // @name in any quotes
	tokSysVar  // @@ with the word behind it
	tokParam   // ?
	tokNull    // \N
	tokOp      // an operator, one character or more
)

// token is one token of a text, by its place.
type token struct {
	kind       tokenKind
	start, end int
	spaced     bool // space or a comment stands before it
	commented  bool // a comment does
	named      bool // it stands behind a dot: a name, whatever it is
	dotted     bool // a dot and a name follow directly: a name, too
}

// lexer cuts a text into tokens as the server does. It allocates nothing.
type lexer struct {
	text []byte
	opt  Options
	pos  int

	separator   bool // the next token is the dot of a name
	separatorAt int  // where it is
	behindDot   bool // the next token is a name that may begin with a digit
	special     bool // inside of /*! … */
	commented   bool // a comment was passed
	why         refusal
}

const (
	letterByte = 1 << iota
	digitByte
	spaceByte
	otherIdent // _ and $
	hexByte
	highByte
	opByte
)

// classOf sorts bytes. Those of a multi-byte character are part of a name.
var classOf = func() (class [256]uint8) {
	for c := range class {
		switch {
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
			class[c] = letterByte | hexByte
		case c >= 'g' && c <= 'z' || c >= 'G' && c <= 'Z':
			class[c] = letterByte
		case c >= '0' && c <= '9':
			class[c] = digitByte | hexByte
		case c == ' ' || c >= '\t' && c <= '\r':
			class[c] = spaceByte
		case c == '_' || c == '$':
			class[c] = otherIdent
		case c >= 0x80:
			class[c] = highByte
		case bytes.IndexByte([]byte("()+-*/%,.;<>=!~^&|:{}[]"), byte(c)) >= 0:
			class[c] = opByte
		}
	}
	return class
}()

const identBytes = letterByte | digitByte | otherIdent | highByte

func (l *lexer) at(i int) byte {
	if i < len(l.text) {
		return l.text[i]
	}
	return 0
}

func (l *lexer) is(i int, class uint8) bool { return i < len(l.text) && classOf[l.text[i]]&class != 0 }

// run returns the end of the bytes of a class from i.
func (l *lexer) run(i int, class uint8) int {
	for i < len(l.text) && classOf[l.text[i]]&class != 0 {
		i++
	}
	return i
}

// next returns the next token.
func (l *lexer) next() token {
	separator, behindDot := l.separator, l.behindDot
	l.separator, l.behindDot = false, false
	t := token{start: l.pos}
	switch {
	case separator: // nothing is skipped: the dot is there
	case behindDot && l.is(l.pos, identBytes):
		t.named = true
	default:
		l.commented = false
		if !l.skip() {
			return token{kind: tokInvalid, start: l.pos, end: l.pos}
		}
		t.spaced, t.commented, t.start = l.pos > t.start, l.commented, l.pos
	}
	if l.pos >= len(l.text) {
		if l.special {
			l.why = refusedComment
			t.kind = tokInvalid
		}
		t.end = l.pos
		return t
	}
	t.kind = l.read(&t)
	t.end = l.pos
	if t.kind == tokInvalid && l.why == "" {
		l.why = refusedToken
	}
	return t
}

// read reads the token at pos.
func (l *lexer) read(t *token) tokenKind {
	c, second := l.text[l.pos], l.at(l.pos+1)
	switch {
	case t.named:
		return l.word(t)
	case c == '\'' || c == '"' && !l.opt.ANSIQuotes:
		return l.quoted(c, !l.opt.NoBackslashEscapes, tokString)
	case c == '`' || c == '"':
		return l.name(c)
	case (c == 'x' || c == 'X') && second == '\'':
		return l.digits(hexByte, tokHex)
	case (c == 'b' || c == 'B') && second == '\'':
		return l.digits(digitByte, tokBits)
	case (c == 'n' || c == 'N') && second == '\'':
		l.pos++
		return l.quoted('\'', !l.opt.NoBackslashEscapes, tokString)
	case c == '@':
		return l.variable()
	case classOf[c]&digitByte != 0:
		return l.number(t)
	case c == '.' && l.is(l.pos+1, digitByte) && !l.separatesHere():
		return l.fraction(l.pos)
	case classOf[c]&identBytes != 0:
		return l.word(t)
	case c == '?':
		l.pos++
		return tokParam
	case c == '\\' && second == 'N' && l.opt.MariaDB:
		l.pos += 2
		return tokNull
	case classOf[c]&opByte != 0:
		return l.operator(c, second)
	}
	return tokInvalid
}

// separatesHere reports whether the dot at pos follows a word directly, and so
// is no beginning of a number.
func (l *lexer) separatesHere() bool {
	return l.pos > 0 && l.separatorAt == l.pos
}

// word reads a name or key word. Directly before a dot that a name follows it
// is a name, and so is what follows.
//
// Since 8.0.32 MySQL reads $…$ as the quote of a string.
func (l *lexer) word(t *token) tokenKind {
	if l.text[l.pos] == '$' && !l.opt.MariaDB {
		return tokInvalid
	}
	l.pos = l.run(l.pos, identBytes)
	l.ends(t)
	return tokWord
}

// ends notes what the end of a word says of the next token.
func (l *lexer) ends(t *token) {
	if l.at(l.pos) == '.' && l.is(l.pos+1, identBytes) {
		l.separator, l.separatorAt, t.dotted = true, l.pos, true
	}
}

// number reads a number, or a name that begins with a digit.
func (l *lexer) number(t *token) tokenKind {
	if l.text[l.pos] == '0' {
		for _, prefix := range [...]struct {
			letter byte
			class  uint8
			kind   tokenKind
		}{{'x', hexByte, tokHex}, {'b', digitByte, tokBits}} {
			end := l.run(l.pos+2, prefix.class)
			if l.at(l.pos+1) == prefix.letter && end > l.pos+2 && !l.is(end, identBytes) {
				if prefix.kind == tokBits && bytes.ContainsAny(l.text[l.pos+2:end], "23456789") {
					break // 0b12 is a name
				}
				l.pos = end
				return prefix.kind
			}
		}
	}
	end := l.run(l.pos, digitByte)
	switch c := l.at(end); {
	case c == '.':
		return l.fraction(end)
	case !l.is(end, identBytes):
		l.pos = end
		return tokInteger
	case c == 'e' || c == 'E':
		sign := l.at(end+1) == '+' || l.at(end+1) == '-'
		switch {
		case l.is(end+1, digitByte) || sign && l.is(end+2, digitByte):
			l.pos = l.run(end+2, digitByte)
			return tokNumber
		case sign:
			return tokInvalid
		}
	}
	return l.word(t)
}

// fraction reads what follows the digits of a number, from its dot.
func (l *lexer) fraction(dot int) tokenKind {
	l.pos = l.run(dot+1, digitByte)
	if c := l.at(l.pos); c != 'e' && c != 'E' {
		return tokNumber
	}
	l.pos++
	if c := l.at(l.pos); c == '+' || c == '-' {
		l.pos++
	}
	if !l.is(l.pos, digitByte) {
		return tokInvalid
	}
	l.pos = l.run(l.pos, digitByte)
	return tokNumber
}

// digits reads x'…' or b'…'.
func (l *lexer) digits(class uint8, kind tokenKind) tokenKind {
	from := l.pos + 2
	end := l.run(from, class)
	if l.at(end) != '\'' || kind == tokHex && (end-from)%2 != 0 ||
		kind == tokBits && bytes.ContainsAny(l.text[from:end], "23456789") {
		return tokInvalid
	}
	l.pos = end + 1
	return kind
}

// quoted reads up to the closing quote. In UTF-8 no byte of another character
// looks like a quote or a backslash, even where it is not valid.
func (l *lexer) quoted(quote byte, escapes bool, kind tokenKind) tokenKind {
	for i := l.pos + 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == '\\' && escapes:
			i++
		case c != quote:
		case l.at(i+1) == quote:
			i++
		default:
			l.pos = i + 1
			return kind
		}
	}
	return tokInvalid
}

// name reads a quoted name. Behind it a dot begins a number, where one can.
func (l *lexer) name(quote byte) tokenKind {
	from := l.pos + 1
	if l.quoted(quote, false, tokQuoted) == tokInvalid || l.pos == from+1 {
		return tokInvalid
	}
	return tokQuoted
}

// variable reads @name, or @@ and the word behind it.
func (l *lexer) variable() tokenKind {
	l.pos++
	kind := tokUserVar
	if l.at(l.pos) == '@' {
		l.pos++
		kind = tokSysVar
	}
	switch c := l.at(l.pos); {
	case c == '`':
		if l.name('`') == tokInvalid {
			return tokInvalid
		}
		return kind
	case kind == tokSysVar:
		from := l.pos
		l.pos = l.run(l.pos, letterByte|digitByte|otherIdent)
		if l.pos == from || l.is(l.pos, highByte) {
			return tokInvalid
		}
		var t token
		l.ends(&t)
		return kind
	case c == '\'' || c == '"':
		from := l.pos
		if l.quoted(c, !l.opt.NoBackslashEscapes, kind) == tokInvalid || bytes.IndexByte(l.text[from:l.pos], '\\') >= 0 {
			return tokInvalid
		}
		return kind
	}
	from := l.pos
	for l.is(l.pos, letterByte|digitByte|otherIdent) || l.at(l.pos) == '.' {
		l.pos++
	}
	if l.pos == from || l.is(l.pos, highByte) {
		return tokInvalid
	}
	return kind
}

// operators are those of more than one character, longest first.
var operators = [...]string{"<=>", "->>", "->", "<=", ">=", "<>", "!=", "<<", ">>", ":=", "||", "&&"}

func (l *lexer) operator(c, second byte) tokenKind {
	if c == ';' && l.special {
		l.why = refusedComment // the rest of the comment is the next statement's
		return tokInvalid
	}
	if c == '.' && l.is(l.pos+1, identBytes) {
		l.behindDot = true
	}
	if classOf[second]&opByte != 0 {
		for _, op := range operators {
			if bytes.HasPrefix(l.text[l.pos:], []byte(op)) {
				l.pos += len(op)
				return tokOp
			}
		}
	}
	l.pos++
	return tokOp
}
