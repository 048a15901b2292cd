package sqltext

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/textcache"
)

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

// MaxNesting is the limit that the tests go to.
const MaxNesting = maxNesting

// AnalyzeAlone analyses text with a's parser and an empty memory.
func AnalyzeAlone(a *Analyzer, text string) *Analysis {
	alone := &Analyzer{parser: a.parser, names: a.names, cache: textcache.New[*Analysis](int(keySpaces), 1, 1)}
	return alone.Analyze([]byte(text), Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true})
}

// Readable says whether text gets as far as the parser.
func Readable(text string) bool {
	return new(scratch).read([]byte(text), Options{StandardConformingStrings: true}) == ""
}

// IsRowCall reports whether a column of that name may be a call with the row.
func IsRowCall(name string) bool { return rowCalls[name] }
