package mysql

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
)

// reach is what masks make of a statement.
type reach struct {
	touched bool     // it may concern a masked relation: what it answers is judged
	refusal string   // why it does not run at all; "": it may
	mask    string   // the mask that says so
	names   []string // columns of its answer that are hidden whatever they are
}

const (
	refusedOpaque = "sluice: this statement may run what its text does not show, and masks apply here"
	refusedCopy   = "sluice: this statement would put a masked value where no mask applies"
	refusedKind   = "sluice: this statement may tell or move masked values in a way that is not followed"
	refusedAlter  = "sluice: this statement may take a mask off its column"
)

func refused(reason, mask string) reach { return reach{touched: true, refusal: reason, mask: mask} }

// touch decides whether masks let a text run. What it answers is masked when it
// comes; refused is what could carry values elsewhere.
func (c *conversation) touch(analysis *mysqltext.Analysis) reach {
	switch {
	case !c.masking.set.Placed():
		return reach{}
	case analysis == nil:
		return reach{touched: true}
	}
	var all reach
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		if s.Nested {
			continue // the outer one has its names
		}
		one := c.touchOne(s, len(analysis.Statements) == 1)
		all.touched = all.touched || one.touched
		all.names = append(all.names, one.names...)
		if one.refusal != "" {
			return one
		}
	}
	return all
}

func (c *conversation) touchOne(s *mysqltext.Statement, alone bool) reach {
	k := &c.masking
	if s.Kind == "EXECUTE" {
		ran := k.runs(s.Runs, c.standing.database)
		if ran == nil || !alone || len(s.Calls) > 0 { // one before it may prepare another
			return refused(refusedOpaque, "")
		}
		return c.touch(ran)
	}
	touched, mask := k.touches(s, c.standing.database)
	switch {
	case strings.HasPrefix(s.Kind, "SHOW ") || s.Kind == "EXPLAIN":
		return k.shows(s, touched, mask)
	case s.Opaque:
		return refused(refusedOpaque, mask)
	case !touched:
		return reach{}
	}
	if reason := k.mayRun(s, c.standing.database); reason != "" {
		return refused(reason, mask)
	}
	return reach{touched: true}
}

// touches reports whether a statement names a relation that masks speak of, or
// of which nobody knows that they do not.
func (k *masking) touches(s *mysqltext.Statement, database string) (touched bool, mask string) {
	for _, name := range append(slices.Clone(s.Relations), s.Writes...) {
		if k.covers(name, database, 0) {
			touched = true
			if mask == "" {
				mask = k.namedBy(resolve(name, database))
			}
		}
	}
	return touched, mask
}

// covers reports whether values of a relation may be masked ones.
func (k *masking) covers(name, database string, depth int) bool {
	known := k.of(name, database)
	switch {
	case known == nil || depth > maxReads:
		return true
	case known.kind == baseTable:
		schema, table := resolve(name, database)
		return k.stored(known, schema, table, "*", nil).masked
	case known.kind == viewRelation:
		if known.view == nil || known.lacks || len(known.columns) > 0 {
			return true
		}
		return slices.ContainsFunc(known.view.Statements[0].Relations, func(inner string) bool { return k.covers(inner, known.schema, depth+1) })
	}
	return known.kind != plainCatalog
}

// mayRun says why a statement about a masked relation does not run; "": it may.
func (k *masking) mayRun(s *mysqltext.Statement, database string) string {
	if slices.ContainsFunc(s.Functions, func(name string) bool { return slices.Contains(keepers, name) }) {
		return refusedKind
	}
	switch s.Kind {
	case "SELECT":
		if s.Class != operation.Read || s.Lineage == nil {
			return refusedKind
		}
		return k.mayWrite(s, database)
	case "INSERT", "REPLACE", "UPDATE", "DELETE", "SET":
		if s.Lineage == nil && s.Kind != "DELETE" || s.Kind == "SET" && slices.ContainsFunc(s.Effects, setsVariable) {
			return refusedKind
		}
		return k.mayWrite(s, database)
	case "PREPARE", "TRUNCATE", "DROP TABLE", "DROP VIEW", "LOCK TABLES", "UNLOCK TABLES", "OPTIMIZE TABLE", "CHECK TABLE", "REPAIR TABLE", "FLUSH TABLES", "GRANT", "REVOKE":
		return ""
	case "ALTER TABLE", "CREATE INDEX", "DROP INDEX", "CREATE TABLE":
		return k.mayAlter(s, database)
	}
	return refusedKind
}

// setsVariable reports whether an effect sets a variable of the server's, which
// anybody can read.
func setsVariable(e mysqltext.Effect) bool {
	return e.Kind == mysqltext.SetVariable || e.Kind == mysqltext.SetGlobal
}

// keepers are functions that keep a value where it can be read afterwards.
var keepers = []string{"last_insert_id", "setval", "get_lock", "nextval"}

// mayWrite says why what a statement writes must not be written: a masked value
// may be put into nothing but a masked column.
func (k *masking) mayWrite(s *mysqltext.Statement, database string) string {
	if s.Lineage == nil {
		return ""
	}
	for i := range s.Lineage.Written {
		w := &s.Lineage.Written[i]
		if carried := k.carries(&w.Output, database); carried.masked && !k.hides(w, carried, database) {
			return refusedCopy
		}
	}
	return ""
}

// hides reports whether a value is written into a column that is masked as a
// whole. What a part is shown of, or a hash, takes only another column's own
// value that is shown like this: computed ones could be arranged so that they
// show the rest.
func (k *masking) hides(w *lineage.Written, carried load, database string) bool {
	if w.Relation == mysqltext.OfVariable || w.Column == "" {
		return false
	}
	known := k.of(w.Relation, database)
	schema, table := resolve(w.Relation, database)
	by := k.maskOf(schema, table, w.Column)
	if known == nil || known.kind != baseTable || by == nil || k.temporary[key(schema, table)] {
		return false
	}
	return by.Method == mask.Redact || by.Method == mask.Null || by.Method == carried.method
}

// mayAlter says why a definition must not be changed: a table with masked
// columns keeps its name and these theirs.
func (k *masking) mayAlter(s *mysqltext.Statement, database string) string {
	if len(s.Writes) != 1 {
		return refusedAlter
	}
	for _, name := range s.Relations {
		if name != s.Writes[0] && k.covers(name, database, 0) {
			return refusedAlter
		}
	}
	schema, table := resolve(s.Writes[0], database)
	if s.Kind == "CREATE TABLE" {
		return ""
	}
	kept := k.hidden(k.of(s.Writes[0], database), schema, table)
	for _, column := range s.Columns {
		if _, last := splitName(column); s.Kind == "ALTER TABLE" && (!ascii(column) || slices.Contains(kept, strings.ToLower(last))) {
			return refusedAlter
		}
	}
	return ""
}

// shows judges SHOW and EXPLAIN. SHOW with a lineage tells of definitions and
// settings only, unless its WHERE asks about a table; EXPLAIN shows values of
// rows that the planner has read.
func (k *masking) shows(s *mysqltext.Statement, touched bool, mask string) reach {
	switch {
	case s.Opaque, touched && (s.Kind == "EXPLAIN" || len(s.Columns) > 0 || len(s.Functions) > 0):
		return refused(refusedKind, mask)
	case s.Kind == "SHOW PROCESSLIST":
		return reach{names: []string{"info"}}
	case s.Kind == "SHOW WARNINGS" || s.Kind == "SHOW ERRORS":
		if k.dirty {
			return reach{names: []string{"message"}}
		}
		return reach{}
	case s.Kind != "EXPLAIN" && s.Lineage == nil:
		return refused(refusedKind, mask)
	}
	return reach{}
}
