package sqltext

import pg_query "github.com/pganalyze/pg_query_go/v6"

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

// Classify describes a tree of one node.
func Classify(node *pg_query.Node) Statement {
	tree := &pg_query.ParseResult{Stmts: []*pg_query.RawStmt{{Stmt: node}}}
	return describe(tree, newBuiltins(), true).analysis.Statements[0]
}

// Cached says how many analyses are remembered, and how many bytes they take.
func (a *Analyzer) Cached() (entries, bytes int) {
	a.cache.mu.RLock()
	defer a.cache.mu.RUnlock()
	return len(a.cache.ring), a.cache.bytes
}

// The limits that the tests go to.
const (
	MaxCacheEntries = maxCacheEntries
	MaxCacheBytes   = maxCacheBytes
	MaxNesting      = maxNesting
)

// AnalyzeAlone analyses text with a's parser and an empty memory.
func AnalyzeAlone(a *Analyzer, text string) *Analysis {
	alone := &Analyzer{parser: a.parser, names: a.names, cache: newCache(1, 1)}
	return alone.Analyze([]byte(text), Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true})
}

// Remember adds an empty analysis for a shape.
func (a *Analyzer) Remember(shape string) { a.cache.add(0, []byte(shape), &Analysis{Parsed: true}) }

// Recalls says whether the shape is still known.
func (a *Analyzer) Recalls(shape string) bool {
	_, known := a.cache.find(0, []byte(shape))
	return known
}

// Readable says whether text gets as far as the parser.
func Readable(text string) bool { return new(scratch).read([]byte(text), true) == "" }
