// Package mysqltext reads SQL as MySQL 8 and MariaDB 10.11 do: text in,
// statements out, with what each of them names, calls and can do, where the
// values of its result come from, and whether it is proven to be read-only.
//
// The package's own lexer reads the text first, as the server would under the
// session's sql_mode, and splits it. What it understands it writes again in a
// form that cannot be read in two ways: without comments, each name and each
// literal in one spelling. Only that goes to the parser, which is TiDB's and
// whose own ideas of comments, hints and key words so never count. Texts that
// differ only in the values of literals share one analysis, where no literal
// has a part in what they do.
//
// The package promises that whatever it cannot read is Parsed false, and that
// a kind of statement or function which it does not know is Opaque and never
// ReadOnly. It knows no catalog: names are as written, without the default
// database, and it cannot see that a relation is a view whose definition calls
// functions, or that a table has triggers.
package mysqltext

import (
	"crypto/sha256"
	"sync"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/textcache"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// Options is what a session's state adds to the meaning of a text. The zero
// value is MySQL's default sql_mode in an encoding of which only ASCII is read.
type Options struct {
	MariaDB bool // the server is MariaDB
	// Version is the server's, as in 80036 or 101106: it decides what
	// /*!NNNNN … */ means. Zero: a text with such a comment is refused.
	Version int
	// LowerNames says that lower_case_table_names is not 0: the names of
	// databases, tables and aliases are compared in lower case, and given so.
	LowerNames bool
	// UTF8 says that character_set_client is utf8mb4, utf8mb3 or ASCII.
	// Otherwise only ASCII is read: in other encodings a byte that looks like a
	// quote or a backslash may be half a letter.
	UTF8 bool

	// These are of sql_mode.
	ANSIQuotes, NoBackslashEscapes, PipesAsConcat, IgnoreSpace, HighNotPrecedence bool

	database string // of a USE before, in the same text
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
//
// Relations are as the text names them, "database.table" where it does, with
// the database of a USE before it in the same text, and never those of WITH.
// Columns and Functions are in lower case. A part of a name with other
// characters than letters, digits, _ and $ is written in backquotes.
type Statement struct {
	operation.SQLStatement

	// Nested says that it is part of the statement before it: what EXPLAIN
	// ANALYZE or PREPARE runs. The names of a nested statement are among the
	// outer one's too.
	Nested bool
	// ReadOnly is proof that running it has no effect that outlasts the
	// transaction. It rests on the package comment's limits.
	ReadOnly bool
	Writes   []string // the relations that it changes, defines or drops
	Aliases  []string // the names that FROM and the like give to what they list
	// Secret says that it sets or takes a password or the like, so that its
	// literals must not be kept.
	Secret bool
	// Effects are what it does to the session, in order.
	Effects []Effect
	// Calls are the functions in Functions that are not known to be harmless.
	// Hides says that the statement is Opaque for more than these.
	Calls []string
	Hides bool
	// Runs is the name of the prepared statement that EXECUTE is about.
	Runs string
	// Lineage is where its values come from; nil where that is not known, or
	// where it neither returns nor keeps any.
	Lineage *lineage.Trace
}

// Analyzer analyses texts and remembers what it found. It is safe for
// concurrent use.
type Analyzer struct {
	parsers parsers
	names   *builtins
	cache   *textcache.Cache[*Analysis]
	scratch sync.Pool // of *scratch
}

// New returns an Analyzer that has read nothing yet.
func New() *Analyzer {
	return &Analyzer{names: newBuiltins(), cache: textcache.New[*Analysis](1, maxCacheEntries, maxCacheBytes)}
}

// Analyze returns what text says. It allocates nothing when the shape of text
// is known, and does not keep text.
func (a *Analyzer) Analyze(text []byte, opt Options) *Analysis { return a.analyze(text, opt, true) }

// Known is Analyze for a text that needs no parser; nil for one that does, which
// may take Analyze some milliseconds.
func (a *Analyzer) Known(text []byte, opt Options) *Analysis { return a.analyze(text, opt, false) }

// analyze parses what is not remembered, where it may.
func (a *Analyzer) analyze(text []byte, opt Options, parse bool) *Analysis {
	s, _ := a.scratch.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	defer a.release(s)
	if why := s.read(text, opt); why != "" {
		return refuse(why)
	}
	if known := a.recall(s); known != nil || !parse {
		return known
	}
	return a.analyzeNew(s)
}

// recall returns what is remembered of a text, by shape or else by itself.
func (a *Analyzer) recall(s *scratch) *Analysis {
	if !s.exact {
		known, ok := a.cache.Find(0, s.shape)
		if !ok || known != nil {
			return known
		}
	}
	known, _ := a.cache.Find(0, s.wholeKey())
	return known
}

// analyzeNew parses a text that is not remembered: first without the values of
// its literals, which mostly tell nothing.
func (a *Analyzer) analyzeNew(s *scratch) *Analysis {
	if !s.exact {
		found, shared, why := a.describe(s, true)
		switch {
		case shared && why != "":
			return refuse(why)
		case shared:
			found.Shape = digest(s.shape)
			a.cache.Add(0, s.shape, found, found.size())
			return found
		}
		a.cache.Add(0, s.shape, nil, 0)
	}
	found, _, why := a.describe(s, false)
	if why != "" {
		return refuse(why)
	}
	found.Shape = digest(s.text)
	a.cache.Add(0, s.wholeKey(), found, found.size())
	return found
}

func digest(text []byte) [16]byte {
	sum := sha256.Sum256(text)
	return [16]byte(sum[:])
}

// release gives s back unless one large text has made it large.
func (a *Analyzer) release(s *scratch) {
	s.text = nil
	if cap(s.shape)+cap(s.key) <= 32<<10 && cap(s.tokens) <= 4<<10 {
		a.scratch.Put(s)
	}
}

func refuse(why refusal) *Analysis { return &Analysis{Why: string(why)} }
