// Package sqltext reads SQL as PostgreSQL does: text in, statements out, with
// what each of them names, calls and can do, and whether it is proven to be
// read-only.
//
// Texts that differ only in the values of literals share one analysis, which
// is found by a single pass of the package's own lexer. A text of a new shape
// goes to PostgreSQL's own parser (libpg_query, in a WebAssembly sandbox).
// Statements whose meaning lies in their literals (DO, SET, COPY, calls of
// functions that we do not know…) are remembered by their whole text.
//
// The package promises that whatever it cannot read is Parsed false, and that
// a kind of statement or function which it does not know is Opaque and never
// ReadOnly. It knows no catalog: names are as written, and it cannot see that
// a relation is a view whose definition calls functions, that a policy or a
// domain's check does, or that t.f stands for f(t). Options say what the
// caller vouches for.
package sqltext

import (
	"crypto/sha256"
	"sync"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/textcache"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// Options is what a session's state adds to the meaning of a text. The zero
// value understands least.
type Options struct {
	// StandardConformingStrings is the parameter of that name, as the server
	// last reported it.
	StandardConformingStrings bool
	// UTF8 says that client_encoding is UTF8. Otherwise only ASCII is read: in
	// other encodings a byte that looks like a quote may be half a letter.
	UTF8 bool
	// Folds says that the server's encoding is not UTF8: it may fold letters in
	// names that the parser leaves as they are, and cuts long names elsewhere. A
	// text with such a name is not read.
	Folds bool
	// BuiltinNames vouches that an unqualified function or operator that has a
	// name of pg_catalog's is pg_catalog's, but for the names that Calling is
	// told of. Otherwise each unqualified call is Opaque.
	BuiltinNames bool
}

// Analysis is what a text says. It is shared between sessions and must not be
// changed.
type Analysis struct {
	// Statements stand in the order of the text, each followed by the
	// statements inside it (Nested). An empty text has none.
	Statements []Statement
	Parsed     bool // false: it could not be understood, and Statements is empty
	// Shape is a digest that texts share which differ only in the values of
	// literals, where no literal has a part in what they do.
	Shape [16]byte
	Why   string // why Parsed is false; holds nothing of the text
}

// Statement is one statement of the text, or one inside another.
type Statement struct {
	operation.SQLStatement

	// Nested says that it is part of the statement before it: a data-modifying
	// WITH query, what EXPLAIN ANALYZE or PREPARE runs, an action of a rule.
	// The names of a nested statement are among the outer one's too.
	Nested bool
	// ReadOnly is proof that running it has no effect that outlasts the
	// transaction. It rests on the package comment's limits.
	ReadOnly bool
	// Writes are the relations that it changes, defines or drops.
	Writes []string
	// Refs are the columns that its expressions read, as written, "*" and whole
	// rows by their alias among them. Columns also has those that it only
	// writes or defines.
	Refs []string
	// Aliases are the names that FROM and the like give to what they list.
	Aliases []string
	// Renames says that an alias also gives the columns other names, so that
	// Refs may not be the columns' own.
	Renames bool
	// Secret says that it sets or takes a password or the like, so that its
	// literals must not be kept. Only names tell: of options, parameters and
	// functions, and of anything in the text where it is Opaque.
	Secret bool
	// Effects are what it does to the session, in order.
	Effects []Effect
	// Operators are those that it uses by an unqualified name, also where it
	// does not write them: IN and USING look for an =. Types are the last parts
	// of the names of types.
	Operators, Types []string
	// Calls are the functions in Functions that are not known to be harmless.
	// Hides says that the statement is Opaque for more than these.
	Calls []string
	Hides bool
	// Runs is the name of the prepared statement or cursor that EXECUTE, FETCH
	// or MOVE is about.
	Runs string
	// Moves are the relations that get another name or another place in an
	// inheritance tree, and the columns of relations that get another name.
	Moves []lineage.Source
	// Lineage is where its values come from, those of PREPARE when it is
	// executed; nil where that is not known. Of a Nested statement the one
	// around it tells.
	Lineage *lineage.Trace
	CopyTo  *CopyTo // of COPY TO STDOUT
}

// Analyzer analyses texts and remembers what it found. It is safe for
// concurrent use.
type Analyzer struct {
	parser  *parser
	names   *builtins
	cache   *textcache.Cache[*Analysis]
	scratch sync.Pool // of *scratch
}

// New returns an Analyzer that has read nothing yet.
func New() *Analyzer {
	return &Analyzer{
		parser: newParser(),
		names:  newBuiltins(),
		cache:  textcache.New[*Analysis](int(keySpaces), maxCacheEntries, maxCacheBytes),
	}
}

// Warm loads the parser, which takes one or two seconds; otherwise the first
// Analyze of a new shape does. A parser holds some 50 MB.
func (a *Analyzer) Warm() { a.parser.warm() }

// Analyze returns what text says. It allocates nothing when the shape of text
// is known, and does not keep text.
func (a *Analyzer) Analyze(text []byte, opt Options) *Analysis {
	return a.analyze(text, opt, a.analyzeNew)
}

// Known is Analyze for a text that needs no parser; nil for one that does, which
// may take Analyze some milliseconds.
func (a *Analyzer) Known(text []byte, opt Options) *Analysis { return a.analyze(text, opt, nil) }

// analyze leaves to parse what is not remembered.
func (a *Analyzer) analyze(text []byte, opt Options, parse func(*scratch, []byte, Options) *Analysis) *Analysis {
	if why := checkBytes(text, opt.UTF8); why != "" {
		return refuse(why)
	}
	s, _ := a.scratch.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	defer a.release(s)
	if why := s.read(text, opt); why != "" {
		return refuse(why)
	}
	if known := a.recall(s, text, opt); known != nil || parse == nil {
		return known
	}
	return parse(s, text, opt)
}

// recall returns what is remembered of text, by shape or else by itself.
func (a *Analyzer) recall(s *scratch, text []byte, opt Options) *Analysis {
	if !s.exact {
		known, ok := a.cache.Find(opt.space(), s.shape)
		if !ok || known != nil {
			return known
		}
	}
	known, _ := a.cache.Find(opt.space()|ofText, text)
	return known
}

// analyzeNew parses a text that is not remembered.
func (a *Analyzer) analyzeNew(s *scratch, text []byte, opt Options) *Analysis {
	parsed := text
	if s.compacted {
		parsed = s.compact
	}
	tree, why := a.parser.parse(string(parsed))
	if why != "" {
		return refuse(why)
	}
	found := describe(tree, a.names, opt.BuiltinNames)
	if !found.shareable {
		hideOpaque(found.analysis, text)
	}
	findCopied(found.analysis, text, opt.StandardConformingStrings)
	shared := found.shareable && !s.exact
	found.analysis.Shape = digest(text)
	if shared {
		found.analysis.Shape = digest(s.shape)
	}
	switch {
	case shared:
		a.cache.Add(opt.space(), s.shape, found.analysis, found.analysis.size())
	case s.shortened:
		return refuse(refusedSize)
	default:
		a.cache.Add(opt.space(), s.shape, nil, 0)
		a.cache.Add(opt.space()|ofText, text, found.analysis, found.analysis.size())
	}
	return found.analysis
}

func digest(text []byte) [16]byte {
	sum := sha256.Sum256(text)
	return [16]byte(sum[:])
}

// release gives s back unless one large text has made it large.
func (a *Analyzer) release(s *scratch) {
	if cap(s.shape)+cap(s.compact) <= 32<<10 {
		a.scratch.Put(s)
	}
}

func refuse(why refusal) *Analysis { return &Analysis{Why: string(why)} }
