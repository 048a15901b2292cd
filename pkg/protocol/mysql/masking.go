package mysql

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// changes counts, over all sessions, the statements that may have changed what
// a name stands for.
type changes struct{ atomic.Uint64 }

// masking is what a session knows of what is masked.
type masking struct {
	plugin *MySQL
	set    *mask.Set
	key    []byte
	follow bool // names are followed: masks are placed, or rules read them

	relations map[string]*relation // by database and name
	asOf      uint64               // changes when these were read
	temporary map[string]bool      // names that this session took for temporary tables
	named     map[string]prepared  // what PREPARE prepared
	dirty     bool                 // a statement's warnings may quote a masked value
	tainted   bool                 // a user variable may hold one
}

func newMasking(m *MySQL, conn *protocol.Conn) masking {
	k := masking{plugin: m, set: conn.Masks, key: conn.MaskKey, follow: conn.Masks.Placed() || conn.SQLRules}
	if len(k.key) == 0 {
		k.key = make([]byte, 32)
		_, _ = rand.Read(k.key) // never fails: crypto/rand ends the program instead
	}
	k.forget()
	return k
}

// forget drops what the session has made.
func (k *masking) forget() {
	k.relations = map[string]*relation{}
	k.temporary = map[string]bool{}
	k.named = map[string]prepared{}
}

// relation is what a name stands for.
type relation struct {
	kind      relationKind
	columns   []string            // of a table, that masks speak of and it has; in lower case
	generated map[string]string   // of a table, the expressions of columns that the server computes; in lower case
	refers    []reference         // of a table, its foreign keys
	lacks     bool                // a mask speaks of a column that it has not
	view      *mysqltext.Analysis // of a view; nil: its definition is not understood
	schema    string              // of a view, where it was made
}

// reference is one column of a foreign key, and the column whose values it has.
type reference struct{ column, relation, foreign string }

type relationKind uint8

const (
	unknownRelation relationKind = iota // there is none, or nobody knows
	baseTable
	viewRelation
	plainCatalog // of the server's own, without any values
	otherCatalog // of the server's own, and may quote values
)

// catalogs are databases of the server's own.
var catalogs = []string{"information_schema", "performance_schema", "mysql", "sys"}

// plainTables are those of INFORMATION_SCHEMA in which no value of a table and
// no other session's statement can be.
var plainTables = []string{
	"applicable_roles", "character_sets", "check_constraints", "collations", "collation_character_set_applicability", "columns", "column_privileges",
	"enabled_roles", "engines", "events", "files", "key_column_usage", "key_words", "keywords", "parameters", "plugins", "referential_constraints",
	"routines", "schemata", "schema_privileges", "session_status", "global_status", "session_variables", "global_variables", "sql_functions",
	"statistics", "system_variables", "tables", "table_constraints", "table_privileges", "triggers", "user_privileges", "views",
}

// resolve returns the whole name of a relation that a text names, in the form
// that relations are kept under.
func resolve(name, database string) (schema, table string) {
	schema, table = splitName(name)
	if schema == "" {
		schema = database
	}
	return strings.ToLower(schema), strings.ToLower(table)
}

// splitName takes "database.table" apart, where either may be in backquotes.
func splitName(name string) (schema, table string) {
	var parts [2]string
	n := 0
	for name != "" {
		var part string
		if name[0] == '`' {
			end := 1
			for end < len(name) && (name[end] != '`' || end+1 < len(name) && name[end+1] == '`') {
				if name[end] == '`' {
					end++
				}
				end++
			}
			part, name = strings.ReplaceAll(name[1:min(end, len(name))], "``", "`"), name[min(end+1, len(name)):]
			name = strings.TrimPrefix(name, ".")
		} else {
			part, name, _ = strings.Cut(name, ".")
		}
		if n < 2 {
			parts[n] = part
		}
		n++
	}
	if n == 2 {
		return parts[0], parts[1]
	}
	return "", parts[0]
}

func key(schema, table string) string { return schema + "\x00" + table }

// of returns what a name stands for; nil where that was not read yet.
func (k *masking) of(name, database string) *relation {
	schema, table := resolve(name, database)
	if slices.Contains(catalogs, schema) {
		if schema == catalogs[0] && slices.Contains(plainTables, table) {
			return &relation{kind: plainCatalog}
		}
		return &relation{kind: otherCatalog}
	}
	known := k.relations[key(schema, table)]
	if known != nil && known.kind == unknownRelation && k.temporary[key(schema, table)] && k.namedBy(schema, table) == "" {
		return &relation{kind: baseTable} // what was put into it was judged
	}
	return known
}

// masked returns the mask of a column, by the policy's names.
func (k *masking) maskOf(schema, table, column string) *mask.Column {
	for i := range k.set.Columns {
		if c := &k.set.Columns[i]; strings.EqualFold(c.Schema, schema) && strings.EqualFold(c.Table, table) && (column == "" || strings.EqualFold(c.Column, column)) {
			return c
		}
	}
	return nil
}

// pathsOf returns what is hidden inside of a column.
func (k *masking) pathsOf(schema, table, column string) (paths []*mask.Path) {
	for i := range k.set.Paths {
		if p := &k.set.Paths[i]; strings.EqualFold(p.Schema, schema) && strings.EqualFold(p.Table, table) && (column == "" || strings.EqualFold(p.Column.Column, column)) {
			paths = append(paths, p)
		}
	}
	return paths
}

// named reports whether a mask speaks of a relation, and by which name.
func (k *masking) namedBy(schema, table string) string {
	if c := k.maskOf(schema, table, ""); c != nil {
		return c.Mask
	}
	if p := k.pathsOf(schema, table, ""); len(p) > 0 {
		return p[0].Mask
	}
	return ""
}

// spokenOf are the columns that masks speak of in a relation, in lower case.
func (k *masking) spokenOf(schema, table string) (columns []string) {
	add := func(c *mask.Column) {
		if name := strings.ToLower(c.Column); strings.EqualFold(c.Schema, schema) && strings.EqualFold(c.Table, table) && !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	for i := range k.set.Columns {
		add(&k.set.Columns[i])
	}
	for i := range k.set.Paths {
		add(&k.set.Paths[i].Column)
	}
	return columns
}

// ran notes what a text may have changed, as it is forwarded and when it has
// ended; done: the server did all of it.
func (k *masking) ran(o *op, done bool) {
	k.dirty = k.dirty || o.reach.touched
	if o.analysis == nil {
		k.tainted = k.tainted || k.set.Placed()
		clear(k.named)
		k.plugin.changes.Add(1)
		return
	}
	for i := range o.analysis.Statements {
		s := &o.analysis.Statements[i]
		if s.Class == operation.DDL || s.Opaque || s.Class == operation.Procedural {
			k.plugin.changes.Add(1)
		}
		for _, e := range s.Effects {
			k.follows(e, o.Operation.Context.Database)
		}
	}
	if done {
		k.keep(o)
	}
}

// follows notes one effect of a text, which may not have come about.
func (k *masking) follows(e mysqltext.Effect, database string) {
	switch e.Kind {
	case mysqltext.Temporary:
		schema, table := resolve(e.Name, database)
		k.temporary[key(schema, table)] = true
	case mysqltext.Prepare:
		delete(k.named, strings.ToLower(e.Name))
	}
}

// prepared is what PREPARE gave a name to. Its own names are looked for in the
// database in which that was.
type prepared struct {
	analysis *mysqltext.Analysis
	database string
}

// maxNamed is the most statements of PREPARE that are remembered.
const maxNamed = 256

// keep remembers what a text that is one PREPARE prepared. Of any other it is
// not known how far the server came.
func (k *masking) keep(o *op) {
	if len(o.analysis.Statements) < 2 || len(k.named) >= maxNamed {
		return
	}
	outer, nested := &o.analysis.Statements[0], slices.Clone(o.analysis.Statements[1:])
	if outer.Kind != "PREPARE" || outer.Opaque || len(outer.Effects) != 1 {
		return
	}
	if slices.ContainsFunc(nested, func(s mysqltext.Statement) bool { return !s.Nested }) {
		return
	}
	nested[0].Nested = false
	k.named[strings.ToLower(outer.Effects[0].Name)] = prepared{
		analysis: &mysqltext.Analysis{Statements: nested, Parsed: true}, database: o.Operation.Context.Database,
	}
}

// runs returns what EXECUTE would run in a database; nil where nobody knows.
func (k *masking) runs(name, database string) *mysqltext.Analysis {
	if kept := k.named[strings.ToLower(name)]; kept.database == database {
		return kept.analysis
	}
	return nil
}
