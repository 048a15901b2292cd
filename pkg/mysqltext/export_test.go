package mysqltext

// Canonical returns the statements of a text as the parser sees them; ok is
// false where the text is refused.
func Canonical(text []byte, opt Options) (statements []string, ok bool) {
	s := new(scratch)
	if s.read(text, opt) != "" {
		return nil, false
	}
	for from := 0; from < len(s.tokens); {
		end := from
		for end < len(s.tokens) && !s.op(s.tokens[end], ';') {
			end++
		}
		if end > from {
			one := &statement{scratch: s, tokens: s.tokens[from:end]}
			written, why := one.write(nil, false)
			if why != "" {
				return nil, false
			}
			statements = append(statements, string(written))
		}
		from = end + 1
	}
	return statements, true
}

// Harmless returns the functions that are taken for harmless.
func Harmless(maria bool) []string {
	b := newBuiltins()
	var names []string
	for _, list := range []map[string]bool{b.both, b.maria, b.mysql} {
		for name := range list {
			if b.harmless(name, 0, maria) {
				names = append(names, name)
			}
		}
	}
	return names
}
