package mysqltext

import "strings"

// stringValue returns the value of a string literal as it is written, N and
// all.
func stringValue(written []byte, opt Options) string {
	if written[0] == 'n' || written[0] == 'N' {
		written = written[1:]
	}
	return unquote(written, !opt.NoBackslashEscapes)
}

// unquote takes quotes away, and escapes apart.
func unquote(written []byte, escapes bool) string {
	quote, body := written[0], written[1:len(written)-1]
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case c == quote:
			i++ // it is doubled
		case c == '\\' && escapes && i+1 < len(body):
			i++
			if body[i] == '%' || body[i] == '_' {
				b.WriteByte('\\')
			}
			c = escaped(body[i])
		}
		b.WriteByte(c)
	}
	return b.String()
}

func escaped(c byte) byte {
	switch c {
	case '0':
		return 0
	case 'b':
		return '\b'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'Z':
		return 0x1a
	}
	return c
}

// appendString writes a string so that the parser reads value.
func appendString(dst []byte, value string) []byte {
	dst = append(dst, '\'')
	for i := range len(value) {
		switch c := value[i]; c {
		case 0:
			dst = append(dst, '\\', '0')
		case '\'', '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '\'')
}

// appendName writes a name in backquotes.
func appendName(dst []byte, name string) []byte {
	dst = append(dst, '`')
	for i := range len(name) {
		if name[i] == '`' {
			dst = append(dst, '`')
		}
		dst = append(dst, name[i])
	}
	return append(dst, '`')
}
