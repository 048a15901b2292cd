package postgres

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// firstUserOID is FirstNormalObjectId: what has a lower OID came with the
// server.
const firstUserOID = 16384

// targets is what all sessions of one plug-in know of the databases: where
// masked columns were found once, so that a mask follows its column when it is
// renamed, and how often definitions changed.
type targets struct {
	changes  atomic.Uint64 // of relations, through any session
	installs atomic.Uint64 // of functions and operators, through any session
	moves    atomic.Uint64 // of relations with masked columns, through any session
	key      []byte        // for mask.Hash

	mu       sync.Mutex
	found    map[targetKey][]place // guarded by mu
	builtins map[dbKey]builtins    // guarded by mu
}

// dbKey is one database of a resource.
type dbKey struct{ resource, database string }

// builtins are the names that users have taken in a database, as it was after so
// many installs. They are not changed once they are read.
type builtins struct {
	installs uint64
	taken    sqltext.Taken
}

// targetKey is a masked column as configured, in one database.
type targetKey struct {
	resource, database string
	column             mask.Column
}

// place is a column as the server numbers it.
type place struct {
	table  uint32
	column int16
	link   linkKind // how it came to hold the masked column's values
}

func newTargets() *targets {
	t := &targets{found: make(map[targetKey][]place), builtins: make(map[dbKey]builtins), key: make([]byte, 32)}
	_, _ = rand.Read(t.key) // never fails: crypto/rand ends the program instead
	return t
}

// catalog is one session's view of the definitions that statements depend on.
// It is read from the server before the client's first statement and again
// whenever it may be old.
type catalog struct {
	targets  *targets
	masks    *mask.Set
	rules    []rule // what masks want of columns
	resource string
	database string
	key      []byte

	changes  uint64 // targets.changes when it was last read
	builtins builtins
	read     bool // it was read at all
	failed   bool // the last reading failed: nothing may be assumed
	rows     []catalogRow

	readings   uint64 // how often it was read
	relations  map[uint32]*relation
	names      map[string]taint       // of user relations
	byName     map[string][]*relation // the tainted ones
	ambiguous  map[string]bool        // names that a clean relation has too
	columns    map[string]bool        // names that masked columns have
	reading    map[string]bool        // names of what reads a tainted relation, whatever it shows
	functions  map[string]function
	follow     bool                                      // rules ask which relations are behind a name
	behind     map[string][]string                       // by the name of a relation, those that it reads or is made of
	beyond     map[string][]string                       // by the name of a relation, those that a change of it may touch
	running    map[string]bool                           // the names of relations that run users' code when they are read
	setters    map[string]bool                           // the names of views of pg_settings
	understand func(definition string) *sqltext.Analysis // of a view
}

// relation is what masks make of one relation.
type relation struct {
	name    string
	schema  string
	masked  map[int16]*rule  // its masked columns; of a view, those that may carry a value
	columns map[string]*rule // these by name
	opaque  string           // the mask that may show in any column; empty for none
}

// taint is what a relation's name may mean.
type taint uint8

const (
	clean   taint = iota // nothing masked
	columns              // a relation with masked columns
	opaque               // a relation whose every column may carry masked values
)

func newCatalog(t *targets, conn *protocol.Conn) catalog {
	c := catalog{targets: t, masks: conn.Masks, resource: conn.Session.Resource, key: conn.MaskKey}
	if conn.Observe {
		c.masks = &mask.Set{} // nothing is changed
	}
	if len(c.key) == 0 {
		c.key = t.key
	}
	c.rules, c.readings = rulesOf(c.masks), 1
	c.follow = conn.SQLRules && !conn.Observe
	return c
}

// rule is what masks want of one column: all of it hidden, or, where it has
// paths, what stands there. Whatever is computed from the column is hidden as
// a whole.
type rule struct {
	mask.Column
	paths []*mask.Path
}

// rulesOf gives each column its one rule. A path in a column that is hidden as
// a whole adds nothing.
func rulesOf(set *mask.Set) []rule {
	var rules []rule
	for _, m := range set.Columns {
		rules = append(rules, rule{Column: m})
	}
	for i := range set.Paths {
		p := &set.Paths[i]
		at := slices.IndexFunc(rules, func(r rule) bool {
			return r.Schema == p.Schema && r.Table == p.Table && r.Column.Column == p.Column.Column
		})
		switch {
		case at < 0:
			rules = append(rules, rule{Column: p.Column, paths: []*mask.Path{p}})
		case len(rules[at].paths) > 0:
			rules[at].paths = append(rules[at].paths, p)
		}
	}
	return rules
}

// needed reports whether it matters where values come from.
func (c *catalog) needed() bool { return c.masks.Placed() }

// reads reports whether it matters which relations there are.
func (c *catalog) reads() bool { return c.needed() || c.follow }

// stale reports whether definitions may have changed since the last reading.
// Without masks and rules only what the names of functions mean is of interest.
func (c *catalog) stale() bool {
	if c.reads() {
		return !c.read || c.failed || c.changes != c.targets.changes.Load() || c.builtins.installs != c.targets.installs.Load()
	}
	return !c.read || c.builtins.installs != c.targets.installs.Load()
}

// vouches reports whether the names of the server's own functions mean these,
// but for those that are taken.
func (c *catalog) vouches() bool {
	return c.read && c.builtins.installs == c.targets.installs.Load()
}

// borrow takes over what another session learned of the same database. It
// reports whether nothing is left to be read.
func (c *catalog) borrow() bool {
	if c.reads() {
		return false
	}
	c.targets.mu.Lock()
	defer c.targets.mu.Unlock()
	known, ok := c.targets.builtins[dbKey{c.resource, c.database}]
	if !ok || known.installs != c.targets.installs.Load() {
		return false
	}
	c.builtins, c.read = known, true
	return true
}

// knows reports whether every relation that a text names was there at the last
// reading.
func (c *catalog) knows(analysis *sqltext.Analysis) bool {
	if analysis == nil {
		return true
	}
	for i := range analysis.Statements {
		for _, name := range analysis.Statements[i].Relations {
			last := lastPart(name)
			if _, known := c.names[last]; !known && !system(name) {
				return false
			}
		}
	}
	return true
}

// lastPart is a relation's name without its schema. A name that holds a dot or
// a quote stands in quotes, as sqltext writes it.
func lastPart(name string) string {
	if strings.HasSuffix(name, `"`) {
		for i := len(name) - 2; i >= 0; i-- {
			if name[i] != '"' {
				continue
			}
			if i > 0 && name[i-1] == '"' {
				i-- // a quote inside of the name
				continue
			}
			return name[i:]
		}
		return name
	}
	return name[strings.LastIndexByte(name, '.')+1:]
}

// quoted writes a relation's name as sqltext does.
func quoted(name string) string {
	if strings.ContainsAny(name, `."`) {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}

// named reports whether a name as written may mean a tainted relation,
// whatever the search_path.
func (c *catalog) named(name string) bool { return c.meaning(name) != clean }

// meaning is the taint of a name as written. TOAST tables hold the long values
// of others.
func (c *catalog) meaning(name string) taint {
	last := lastPart(name)
	if strings.HasPrefix(last, "pg_toast") {
		return opaque
	}
	return c.names[last]
}
