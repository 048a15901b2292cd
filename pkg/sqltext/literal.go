package sqltext

import "bytes"

// plainString reads '…' after its first quote. With
// standard_conforming_strings off a backslash escapes in it.
func (l *lexer) plainString(t token) token {
	if l.scs {
		return l.quotesOnly(t)
	}
	l.backslash = true
	return l.escapeString(t)
}

// bits reads the body of b'…' or x'…': no quote can stand in it, so two quotes
// end it and begin a string.
func (l *lexer) bits(t token) token {
	for {
		i := bytes.IndexByte(l.text[l.pos:], '\'')
		if i < 0 {
			l.pos = len(l.text)
			return tokInvalid
		}
		l.pos += i + 1
		switch l.continued() {
		case stringEnds:
			return t
		case stringUnclear:
			return tokInvalid
		}
	}
}

// quotesOnly reads up to the closing quote; only a doubled quote stands for
// itself.
func (l *lexer) quotesOnly(t token) token {
	for {
		i := bytes.IndexByte(l.text[l.pos:], '\'')
		if i < 0 {
			l.pos = len(l.text)
			return tokInvalid
		}
		l.pos += i + 1
		if end := l.closing(t); end != tokEnd {
			return end
		}
	}
}

// closing is called behind a quote. It returns t when that quote ends the
// string, and tokEnd when the string goes on.
func (l *lexer) closing(t token) token {
	if l.at(l.pos) == '\'' {
		l.pos++
		return tokEnd
	}
	switch l.continued() {
	case stringGoesOn:
		return tokEnd
	case stringUnclear:
		return tokInvalid
	}
	return t
}

// escapeString reads up to the closing quote; a backslash takes the next byte
// with it.
func (l *lexer) escapeString(t token) token {
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		l.pos++
		switch c {
		case '\\':
			l.pos++
		case '\'':
			if end := l.closing(t); end != tokEnd {
				return end
			}
		}
	}
	l.pos = len(l.text)
	return tokInvalid
}

// behindQuote says what follows a closing quote.
type behindQuote uint8

const (
	stringEnds behindQuote = iota
	stringGoesOn
	stringUnclear // PostgreSQL goes on, the parser that we ask does not
)

// continued looks behind a closing quote: a string goes on where white space
// with at least one line end, and then a quote, follow (SQL standard; scan.l
// quotecontinue). It moves behind that quote. The white space may hold a
// comment, but libpg_query's scanner keeps comments and then sees two strings.
func (l *lexer) continued() behindQuote {
	newline, comment := false, false
	for i := l.pos; i < len(l.text); {
		c := l.text[i]
		switch {
		case c == '\n' || c == '\r':
			newline = true
			i++
		case classOf[c]&spaceByte != 0:
			i++
		case c == '-' && l.at(i+1) == '-':
			comment = true
			i = lineEnd(l.text, i)
		case c == '\'' && newline && comment:
			return stringUnclear
		case c == '\'' && newline:
			l.pos = i + 1
			return stringGoesOn
		default:
			return stringEnds
		}
	}
	return stringEnds
}

// quotedIdentifier reads "…" after its first quote. An empty one is refused.
func (l *lexer) quotedIdentifier(t token) token {
	body := l.pos
	for {
		i := bytes.IndexByte(l.text[l.pos:], '"')
		if i < 0 {
			l.pos = len(l.text)
			return tokInvalid
		}
		l.pos += i + 1
		if l.at(l.pos) == '"' {
			l.pos++
			continue
		}
		if l.pos-1 == body {
			return tokInvalid
		}
		return t
	}
}

// dollar reads a parameter or a dollar-quoted string.
func (l *lexer) dollar() token {
	i := l.pos + 1
	if classOf[l.at(i)]&digitByte != 0 {
		for classOf[l.at(i)]&digitByte != 0 {
			i++
		}
		l.pos = i
		if classOf[l.at(i)]&letterByte != 0 {
			return tokInvalid
		}
		return tokParam
	}
	if classOf[l.at(i)]&letterByte != 0 {
		for classOf[l.at(i)]&(letterByte|digitByte) != 0 {
			i++
		}
	}
	if l.at(i) != '$' {
		return tokInvalid
	}
	tag := l.text[l.pos : i+1]
	end := bytes.Index(l.text[i+1:], tag)
	if end < 0 {
		l.pos = len(l.text)
		return tokInvalid
	}
	l.pos = i + 1 + end + len(tag)
	return tokString
}

// number reads an integer or a numeric. A letter right behind it is refused,
// as PostgreSQL does from 15 on.
func (l *lexer) number() token {
	t := l.magnitude()
	if t == tokInvalid || classOf[l.at(l.pos)]&(letterByte|digitByte) != 0 {
		return tokInvalid
	}
	return t
}

func (l *lexer) magnitude() token {
	first := l.pos
	if l.text[first] == '0' {
		switch l.at(first+1) | 0x20 {
		case 'x':
			return l.based(16)
		case 'o':
			return l.based(8)
		case 'b':
			return l.based(2)
		}
	}
	l.digits()
	fraction := false
	if l.at(l.pos) == '.' && (l.pos == first || l.at(l.pos+1) != '.') {
		fraction = true
		l.pos++
		l.digits()
	}
	if l.at(l.pos)|0x20 == 'e' {
		return l.exponent()
	}
	if fraction {
		return tokNumber
	}
	return integerSize(l.text[first:l.pos], 10)
}

// digits reads digits, with single underscores between them.
func (l *lexer) digits() {
	for classOf[l.at(l.pos)]&digitByte != 0 {
		l.pos++
		if l.at(l.pos) == '_' && classOf[l.at(l.pos+1)]&digitByte != 0 {
			l.pos++
		}
	}
}

func (l *lexer) exponent() token {
	l.pos++
	if c := l.at(l.pos); c == '+' || c == '-' {
		l.pos++
	}
	if classOf[l.at(l.pos)]&digitByte == 0 {
		return tokInvalid
	}
	l.digits()
	return tokNumber
}

// based reads what follows 0x, 0o or 0b.
func (l *lexer) based(base uint64) token {
	l.pos += 2
	first := l.pos
	for {
		i := l.pos
		if l.at(i) == '_' {
			i++
		}
		if digitValue(l.at(i)) >= base {
			break
		}
		l.pos = i + 1
	}
	if l.pos == first {
		return tokInvalid
	}
	return integerSize(l.text[first:l.pos], base)
}

func digitValue(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10
	}
	return 255
}

// integerSize tells an int4 from a larger number: the grammar takes them in
// different places.
func integerSize(digits []byte, base uint64) token {
	const maxInt4 = 1<<31 - 1
	var n uint64
	for _, c := range digits {
		if c == '_' {
			continue
		}
		n = n*base + digitValue(c)
		if n > maxInt4 {
			return tokNumber
		}
	}
	return tokInteger
}
