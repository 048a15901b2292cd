package sqltext

// Token is a token as the tests see it.
type Token struct {
	Kind       string
	Start, End int
}

var tokenNames = [...]string{
	tokWord: "word", tokNational: "word", tokQuoted: "quoted", tokUQuoted: "uword",
	tokString: "string", tokUString: "ustring", tokBits: "bits", tokHex: "hex",
	tokInteger: "integer", tokNumber: "number", tokParam: "param",
	tokOperator: "operator",
}

// Tokens returns the tokens of text; ok is false when the lexer refuses it.
func Tokens(text []byte, scs bool) (tokens []Token, ok bool) {
	lex := lexer{text: text, scs: scs}
	for {
		switch t := lex.next(); t {
		case tokEnd:
			return tokens, true
		case tokInvalid:
			return tokens, false
		default:
			tokens = append(tokens, Token{tokenNames[t], lex.start, lex.pos})
		}
	}
}
