package sqltext

import "bytes"

// token is what the lexer found. Words are identifiers and key words alike:
// the shape keeps both as they are written.
type token uint8

const (
	tokEnd      token = iota
	tokWord           // identifier or key word, not quoted
	tokNational       // the N of N'…'; an ordinary string follows
	tokQuoted         // "identifier"
	tokUQuoted        // U&"identifier"; its meaning may depend on UESCAPE
	tokString         // '…', E'…' or $tag$…$tag$
	tokUString        // U&'…'
	tokBits           // b'…'
	tokHex            // x'…'
	tokInteger        // fits int4
	tokNumber         // any other number
	tokParam          // $1
	tokOperator       // an operator or one character of punctuation
	tokInvalid        // what PostgreSQL's scanner refuses, or we do
)

// lexer cuts text into the tokens of PostgreSQL 17's scanner
// (src/backend/parser/scan.l). Where older servers differ (from 9.6 on) they
// refuse the text or read an alias where we refuse it.
type lexer struct {
	text []byte
	pos  int // of the next byte
	scs  bool

	start     int  // of the token that next returned
	backslash bool // that token is a plain '…' in which scs off makes \ an escape
}

// Byte classes. Bytes from 0x80 on are letters, as in scan.l.
const (
	letterByte uint8 = 1 << iota
	digitByte
	spaceByte
	operatorByte // may be part of an operator of several characters
	selfByte     // a token by itself
)

var classOf = byteClasses()

func byteClasses() (class [256]uint8) {
	for c := range 256 {
		b := byte(c)
		switch {
		case b >= 0x80, b == '_', b|0x20 >= 'a' && b|0x20 <= 'z':
			class[c] |= letterByte
		case b >= '0' && b <= '9':
			class[c] |= digitByte
		case bytes.IndexByte([]byte(" \t\n\r\f\v"), b) >= 0:
			class[c] |= spaceByte
		}
		if bytes.IndexByte([]byte("~!@#^&|`?+-*/%<>="), b) >= 0 {
			class[c] |= operatorByte
		}
		if bytes.IndexByte([]byte(",()[].;:+-*/%^<>="), b) >= 0 {
			class[c] |= selfByte
		}
	}
	return class
}

func (l *lexer) at(i int) byte {
	if i < len(l.text) {
		return l.text[i]
	}
	return 0
}

// next returns the next token; its bytes are text[start:pos].
func (l *lexer) next() token {
	l.backslash = false
	if !l.skipSpace() {
		return tokInvalid
	}
	l.start = l.pos
	if l.pos == len(l.text) {
		return tokEnd
	}
	c := l.text[l.pos]
	switch {
	case classOf[c]&letterByte != 0:
		return l.word(c)
	case classOf[c]&digitByte != 0, c == '.' && classOf[l.at(l.pos+1)]&digitByte != 0:
		return l.number()
	case c == '\'':
		l.pos++
		return l.plainString(tokString)
	case c == '"':
		l.pos++
		return l.quotedIdentifier(tokQuoted)
	case c == '$':
		return l.dollar()
	case classOf[c]&operatorByte != 0:
		return l.operator()
	case classOf[c]&selfByte != 0:
		return l.punctuation(c)
	}
	return tokInvalid
}

// skipSpace passes over white space and comments. It returns false for a
// comment without an end.
func (l *lexer) skipSpace() bool {
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch {
		case classOf[c]&spaceByte != 0:
			l.pos++
		case c == '-' && l.at(l.pos+1) == '-':
			l.pos = lineEnd(l.text, l.pos)
		case c == '/' && l.at(l.pos+1) == '*':
			if !l.skipComment() {
				return false
			}
		default:
			return true
		}
	}
	return true
}

// lineEnd returns the position of the line feed or carriage return that ends
// the comment at pos.
func lineEnd(text []byte, pos int) int {
	for pos < len(text) && text[pos] != '\n' && text[pos] != '\r' {
		pos++
	}
	return pos
}

// skipComment passes over a /* comment */; such comments nest.
func (l *lexer) skipComment() bool {
	depth := 0
	for l.pos+1 < len(l.text) {
		switch {
		case l.text[l.pos] == '/' && l.text[l.pos+1] == '*':
			depth++
			l.pos += 2
		case l.text[l.pos] == '*' && l.text[l.pos+1] == '/':
			depth--
			l.pos += 2
			if depth == 0 {
				return true
			}
		default:
			l.pos++
		}
	}
	l.pos = len(l.text)
	return false
}

// word reads an identifier or key word, or the string that its first letter
// introduces.
func (l *lexer) word(c byte) token {
	if l.at(l.pos+1) == '\'' {
		switch c | 0x20 {
		case 'e':
			l.pos += 2
			return l.escapeString(tokString)
		case 'b':
			l.pos += 2
			return l.bits(tokBits)
		case 'x':
			l.pos += 2
			return l.bits(tokHex)
		case 'n':
			l.pos++
			return tokNational
		}
	}
	if c|0x20 == 'u' && l.at(l.pos+1) == '&' {
		switch l.at(l.pos + 2) {
		case '"':
			l.pos += 3
			return l.quotedIdentifier(tokUQuoted)
		case '\'':
			if !l.scs { // refused by PostgreSQL as unsafe
				return tokInvalid
			}
			l.pos += 3
			return l.quotesOnly(tokUString)
		}
	}
	l.pos = identifierEnd(l.text, l.pos)
	return tokWord
}

func identifierEnd(text []byte, pos int) int {
	for pos < len(text) && (classOf[text[pos]]&(letterByte|digitByte) != 0 || text[pos] == '$') {
		pos++
	}
	return pos
}

// maxOperator is NAMEDATALEN-1, the longest operator that PostgreSQL takes.
const maxOperator = 63

// operator reads the longest operator, without a comment that it runs into and
// without a trailing + or - that the SQL standard gives to the next token.
func (l *lexer) operator() token {
	end := l.pos
	for end < len(l.text) && classOf[l.text[end]]&operatorByte != 0 {
		if end > l.pos && commentStart(l.text, end) {
			break
		}
		end++
	}
	op := l.text[l.pos:end]
	for len(op) > 1 && (op[len(op)-1] == '+' || op[len(op)-1] == '-') &&
		!bytes.ContainsAny(op[:len(op)-1], "~!@#^&|`?%") {
		op = op[:len(op)-1]
	}
	if len(op) > maxOperator {
		return tokInvalid
	}
	l.pos += len(op)
	return tokOperator
}

func commentStart(text []byte, i int) bool {
	if i+1 >= len(text) {
		return false
	}
	return text[i] == '-' && text[i+1] == '-' || text[i] == '/' && text[i+1] == '*'
}

// punctuation reads one character, or "::", ":=" or "..".
func (l *lexer) punctuation(c byte) token {
	l.pos++
	second := l.at(l.pos)
	if c == ':' && (second == ':' || second == '=') || c == '.' && second == '.' {
		l.pos++
	}
	return tokOperator
}
