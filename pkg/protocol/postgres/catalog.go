package postgres

import (
	"crypto/rand"
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

// revealing are relations of the server itself that hold values of other
// relations, or other sessions' statements.
var revealing = [...]string{
	"pg_statistic", "pg_stats", "pg_statistic_ext_data", "pg_stats_ext", "pg_stats_ext_exprs",
	"pg_stat_activity", "pg_stat_statements", "pg_largeobject",
}

// targets is what all sessions of one plug-in know of masked columns: where
// they were found once, so that a mask follows its column when it is renamed,
// and how often definitions changed.
type targets struct {
	changes atomic.Uint64 // of definitions, through any session
	key     []byte        // for mask.Hash when the masks bring none

	mu    sync.Mutex
	found map[targetKey]place // guarded by mu
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
}

func newTargets() *targets {
	t := &targets{found: make(map[targetKey]place), key: make([]byte, 32)}
	_, _ = rand.Read(t.key) // never fails: crypto/rand ends the program instead
	return t
}

// catalog is one session's view of what is masked. It is read from the server
// before the client's first statement and again whenever it may be old.
type catalog struct {
	targets  *targets
	masks    *mask.Set
	resource string
	database string
	key      []byte

	seen   uint64 // targets.changes when it was last read
	read   bool   // it was read at all
	failed bool   // the last reading failed: nothing may be assumed
	rows   []catalogRow

	relations map[uint32]*relation
	names     map[string]bool // of user relations: whether they are tainted
}

// relation is what masks make of one relation.
type relation struct {
	name   string
	schema string
	masked map[int16]*mask.Column // of a table: its masked columns
	opaque string                 // the mask that may show in any column; empty for none
}

// origin is where a result's column comes from.
type origin uint8

const (
	computed     origin = iota // from no column that the server names
	plain                      // from a column that is not masked
	maskedColumn               // from a masked column, unchanged
	tainted                    // from a relation that may show masked values
	unknownTable               // from a relation that we have not heard of
)

func newCatalog(t *targets, conn *protocol.Conn) catalog {
	c := catalog{targets: t, masks: conn.Masks, resource: conn.Session.Resource, key: t.key}
	return c
}

// needed reports whether anything is masked in this session.
func (c *catalog) needed() bool { return !c.masks.Empty() }

// invalidate notes, for all sessions, that definitions may have changed.
func (c *catalog) invalidate() { c.targets.changes.Add(1) }

// stale reports whether the catalog must be read before a statement is judged:
// definitions changed, or it names a relation that is not known.
func (c *catalog) stale(analysis *sqltext.Analysis) bool {
	if !c.read || c.failed || c.seen != c.targets.changes.Load() {
		return true
	}
	if analysis == nil {
		return false
	}
	for i := range analysis.Statements {
		for _, name := range analysis.Statements[i].Relations {
			if _, known := c.names[lastPart(name)]; !known && !strings.HasPrefix(lastPart(name), "pg_") {
				return true
			}
		}
	}
	return false
}

// lastPart is a relation's name without its schema. A quoted name may hold
// dots; its last part is then no relation's name, and named looks at all
// parts.
func lastPart(name string) string {
	return name[strings.LastIndexByte(name, '.')+1:]
}

// named reports whether a name as written may mean a tainted relation.
func (c *catalog) named(name string) bool {
	for {
		if c.names[name] {
			return true
		}
		dot := strings.IndexByte(name, '.')
		if dot < 0 {
			return false
		}
		name = name[dot+1:]
	}
}

// judge says what masks make of a result's column.
func (c *catalog) judge(table uint32, column int16) field {
	if table == 0 {
		return field{origin: computed}
	}
	r := c.relations[table]
	switch {
	case r == nil && table < firstUserOID:
		return field{origin: plain}
	case r == nil:
		return field{origin: unknownTable}
	case r.opaque != "":
		return field{origin: tainted, mask: r.opaque}
	case len(r.masked) == 0:
		return field{origin: plain}
	case column <= 0:
		return wholeRow(r)
	}
	if m := r.masked[column]; m != nil {
		return field{origin: maskedColumn, method: m.Method, mask: m.Mask}
	}
	return field{origin: plain}
}

// wholeRow is a column that holds all columns of a masked table. System
// columns have negative numbers and hold no values, but are not worth a case.
func wholeRow(r *relation) field {
	for _, m := range r.masked {
		return field{origin: tainted, mask: m.Mask}
	}
	return field{origin: plain}
}
