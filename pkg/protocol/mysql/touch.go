package mysql

import (
	"slices"
	"strings"

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
func (c *conversation) touch(analysis *mysqltext.Analysis, text []byte) reach {
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
		one := c.touchOne(s, text, len(analysis.Statements) == 1)
		all.touched = all.touched || one.touched
		all.names = append(all.names, one.names...)
		if one.refusal != "" {
			return one
		}
	}
	return all
}

func (c *conversation) touchOne(s *mysqltext.Statement, text []byte, alone bool) reach {
	k := &c.masking
	if s.Kind == "EXECUTE" {
		ran := k.named[strings.ToLower(s.Runs)]
		if ran == nil || len(s.Calls) > 0 {
			return refused(refusedOpaque, "")
		}
		return c.touch(ran, nil)
	}
	touched, mask := k.touches(s, c.standing.database)
	switch {
	case s.Kind == "SHOW" || s.Kind == "EXPLAIN":
		return k.shows(s, text, alone, touched, mask)
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
		return len(known.columns) > 0 || known.lacks
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
	switch s.Kind {
	case "SELECT":
		if s.Class != operation.Read || s.Lineage == nil {
			return refusedKind
		}
		return k.mayWrite(s, database)
	case "INSERT", "REPLACE", "UPDATE", "DELETE", "SET":
		if s.Lineage == nil && s.Kind != "DELETE" {
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

// mayWrite says why what a statement writes must not be written: a masked value
// may be put into nothing but a masked column.
func (k *masking) mayWrite(s *mysqltext.Statement, database string) string {
	if s.Lineage == nil {
		return ""
	}
	for i := range s.Lineage.Written {
		w := &s.Lineage.Written[i]
		if k.carries(&w.Output, database).masked && !k.hides(w, database) {
			return refusedCopy
		}
	}
	return ""
}

// hides reports whether a value is written into a column that is masked as a
// whole.
func (k *masking) hides(w *mysqltext.Written, database string) bool {
	if w.Relation == mysqltext.OfVariable || w.Column == "" {
		return false
	}
	known := k.of(w.Relation, database)
	schema, table := resolve(w.Relation, database)
	return known != nil && known.kind == baseTable && k.maskOf(schema, table, w.Column) != nil && !k.temporary[key(schema, table)]
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
	for _, column := range s.Columns {
		if _, last := splitName(column); slices.Contains(k.spokenOf(schema, table), strings.ToLower(last)) && s.Kind == "ALTER TABLE" {
			return refusedAlter
		}
	}
	return ""
}

// shown are the words behind SHOW of what tells no value of a table, and no
// other session's statement.
var shown = []string{
	"TABLES", "TABLE", "DATABASES", "SCHEMAS", "COLUMNS", "FIELDS", "INDEX", "INDEXES", "KEYS", "CREATE", "VARIABLES", "STATUS", "ENGINES",
	"STORAGE", "CHARACTER", "CHARSET", "COLLATION", "TRIGGERS", "EVENTS", "GRANTS", "PLUGINS", "PRIVILEGES", "PROCEDURE", "FUNCTION", "PACKAGE",
	"OPEN", "MASTER", "COUNT(*)",
}

// shows judges SHOW and EXPLAIN by their first words. EXPLAIN shows values of
// rows that the planner has read; of a relation's columns it is as DESCRIBE.
func (k *masking) shows(s *mysqltext.Statement, text []byte, alone, touched bool, mask string) reach {
	if !alone || strings.ContainsAny(string(text), "#@") || strings.Contains(string(text), "/*") || strings.Contains(string(text), "--") {
		return refused(refusedKind, mask)
	}
	words := strings.Fields(strings.ToUpper(strings.TrimRight(string(text), "; \t\r\n")))
	if s.Kind == "EXPLAIN" {
		describes := len(words) >= 2 && len(words) <= 3 && !slices.Contains(words, "FOR") && !strings.Contains(words[1], "(")
		if touched && !describes {
			return refused(refusedKind, mask)
		}
		return reach{}
	}
	if len(words) > 1 && slices.Contains([]string{"FULL", "GLOBAL", "SESSION", "LOCAL", "EXTENDED"}, words[1]) {
		words = slices.Delete(words, 1, 2)
	}
	switch {
	case len(words) < 2 || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, "SELECT") || w == "CODE" || w == "ANALYSE" }):
	case slices.Contains(shown, words[1]):
		return reach{}
	case words[1] == "PROCESSLIST":
		return reach{names: []string{"info"}}
	case words[1] == "WARNINGS" || words[1] == "ERRORS":
		if k.dirty {
			return reach{names: []string{"message"}}
		}
		return reach{}
	}
	return refused(refusedKind, mask)
}
