package mysqltext

import "bytes"

// skip passes space and comments, and enters and leaves /*! … */. It reports
// false at what the server may read otherwise than we do.
func (l *lexer) skip() bool {
	for l.pos < len(l.text) {
		l.pos = l.run(l.pos, spaceByte)
		c, second := l.at(l.pos), l.at(l.pos+1)
		ok := true
		switch {
		case c == '#' || c == '-' && second == '-' && l.dashes():
			ok, l.commented = l.line(), true
		case c == '/' && second == '*':
			ok, l.commented = l.comment(), true
		case c == '*' && second == '/' && l.special:
			l.special, l.commented = false, true
			l.pos += 2
		default:
			return true
		}
		if !ok {
			if l.why == "" {
				l.why = refusedComment
			}
			return false
		}
	}
	return true
}

// dashes reports whether -- begins a comment: space, a control character or
// the end must follow.
func (l *lexer) dashes() bool {
	if l.pos+2 >= len(l.text) {
		return true
	}
	c := l.text[l.pos+2]
	return c <= ' ' || c == 0x7f
}

// line passes a comment that a line break ends, and only \n is one. A NUL ends
// it too.
func (l *lexer) line() bool {
	end := bytes.IndexByte(l.text[l.pos:], '\n')
	if end < 0 {
		end = len(l.text) - l.pos
	}
	if bytes.IndexByte(l.text[l.pos:l.pos+end], 0) >= 0 {
		return false
	}
	l.pos += end
	return true
}

// comment passes /* … */, or enters it where the server would.
func (l *lexer) comment() bool {
	inside := l.pos + 2
	marked := l.at(inside) == '!'
	maria := l.at(inside) == 'M' && l.at(inside+1) == '!'
	hint := l.at(inside) == '+'
	end := bytes.Index(l.text[inside:], []byte("*/"))
	if end < 0 {
		return false
	}
	body := l.text[inside : inside+end]
	if bytes.IndexByte(body, 0) >= 0 {
		return false
	}
	switch {
	case hint:
		// A hint sets variables of the session, sql_mode among them. The end of
		// the comment in a quoted name of a hint is not its end.
		if !l.opt.MariaDB && (bytes.Contains(bytes.ToLower(body), []byte("set_var")) || bytes.ContainsAny(body, "`'\"\\")) {
			return false
		}
	case maria && !l.opt.MariaDB: // a comment like any other
	case marked || maria:
		l.pos = inside + 1
		if maria {
			l.pos++
		}
		return l.enter(maria, body)
	}
	l.pos = inside + end + 2
	return true
}

// enter begins /*! … */, with pos behind the mark, or passes it where the
// server's version is too low for it.
func (l *lexer) enter(maria bool, body []byte) bool {
	if l.special {
		return false
	}
	digits := l.run(l.pos, digitByte) - l.pos
	if digits < 5 { // no version: always read
		l.special = true
		return true
	}
	if l.opt.Version == 0 || digits > 6 || digits == 6 && !l.opt.MariaDB {
		return false
	}
	version := 0
	for _, c := range l.text[l.pos : l.pos+digits] {
		version = version*10 + int(c-'0')
	}
	// MariaDB does not follow MySQL 5.7 and later.
	skipped := version > l.opt.Version || l.opt.MariaDB && !maria && version >= 50700 && version <= 99999
	if !skipped {
		l.pos += digits
		l.special = true
		return true
	}
	if bytes.Contains(body, []byte("/*")) {
		return false // comments inside count here
	}
	l.pos += bytes.Index(l.text[l.pos:], []byte("*/")) + 2
	return true
}
