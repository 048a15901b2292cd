package mysqltext

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/sluicegate/sluice/pkg/operation"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// describer reads the statements of one text.
type describer struct {
	a       *Analyzer
	opt     Options
	neutral bool // without the values of literals
	shared  bool // no literal had a part in it so far
	found   []Statement
}

// describe reads a text statement by statement. Where shared is false though
// neutral was asked for, nothing else of the answer counts.
func (a *Analyzer) describe(s *scratch, neutral bool) (found *Analysis, shared bool, why refusal) {
	d := &describer{a: a, opt: s.opt, neutral: neutral, shared: true}
	why = d.statements(s)
	if why != "" {
		return nil, d.shared, why
	}
	return &Analysis{Statements: d.found, Parsed: true}, d.shared, ""
}

func (d *describer) statements(s *scratch) refusal {
	for from := 0; from < len(s.tokens); {
		end := from
		for end < len(s.tokens) && !s.op(s.tokens[end], ';') {
			end++
		}
		start := from
		one := &statement{scratch: s, tokens: s.tokens[start:end]}
		from = end + 1
		if len(one.tokens) == 0 {
			continue
		}
		if slices.ContainsFunc(d.found, unsettles) {
			return refusedMode
		}
		k, words, known := one.kindOf()
		if !known {
			return refusedKind
		}
		if k.traits&compound != 0 {
			one.tokens, from = s.tokens[start:], len(s.tokens)
		}
		if why := d.statement(one, k, words); why != "" {
			return why
		}
		if d.neutral && !d.shared {
			return ""
		}
	}
	return ""
}

// unsettles reports whether a statement may change how the text behind it is
// read.
func unsettles(st Statement) bool {
	return slices.ContainsFunc(st.Effects, func(e Effect) bool {
		switch e.Kind {
		case SetAnything:
			return true
		case SetVariable, SetGlobal:
			return e.Name == "sql_mode" || e.Name == "names" || strings.HasPrefix(e.Name, "character") ||
				strings.HasPrefix(e.Name, "collation") || e.Name == "lower_case_table_names" || e.Name == "pseudo_slave_mode"
		}
		return false
	})
}

// statement reads one statement.
func (d *describer) statement(s *statement, k kind, words int) refusal {
	st := Statement{Secret: k.traits&secret != 0}
	st.Kind, st.Class = k.name, k.class
	st.Hides = k.traits&hides != 0
	st.Opaque = st.Hides
	d.shared = d.shared && k.traits&shares != 0
	if d.neutral && !d.shared {
		return ""
	}
	at := len(d.found)
	d.found = append(d.found, st)
	why := d.fill(s, at, k, words)
	if why != "" {
		return why
	}
	d.finish(&d.found[at], k)
	return ""
}

// fill reads what is behind the first words.
func (d *describer) fill(s *statement, at int, k kind, words int) refusal {
	st := &d.found[at]
	switch k.name {
	case "SET":
		return d.set(s, st)
	case "SET PASSWORD", "SET ROLE", "SET DEFAULT ROLE", "SET TRANSACTION", "SET RESOURCE GROUP", "GRANT", "REVOKE":
		st.Relations = d.granted(s, k.class)
		if k.name != "GRANT" && k.name != "REVOKE" { // SELECT is a privilege there
			return d.queries(s, st)
		}
		return ""
	case "SHOW":
		return d.show(s, st)
	case "EXPLAIN":
		return d.explain(s, at, 1)
	case "ANALYZE":
		switch s.keyword(1) {
		case "table", "tables", "local", "no_write_to_binlog":
		default:
			d.found[at].Kind, d.found[at].Class = "EXPLAIN", operation.Read
			return d.explain(s, at, 1)
		}
	case "PREPARE", "EXECUTE IMMEDIATE":
		return d.prepare(s, at, words)
	case "DO":
		return d.expressions(s, st, s.tokens[1:])
	case "CALL":
		return d.callProcedure(s, st)
	}
	d.session(s, st, words)
	switch {
	case k.traits&(tree|treed) != 0:
		s.dropReplace(k)
		d.options(s, st)
		if why := d.tree(s, st); why == "" || k.traits&tree != 0 {
			return why
		}
		st.Opaque, st.Hides = true, true
		fallthrough
	case k.traits&(lists|compound) != 0:
		if why := d.loose(s, st, words); why != "" {
			return why
		}
	}
	if k.traits&compound != 0 {
		d.bodies(s, at, words)
		return ""
	}
	return d.queries(s, st)
}

// queries looks for a query in a statement of which nobody reads more than the
// first words.
func (d *describer) queries(s *statement, st *Statement) refusal {
	if slices.ContainsFunc(s.tokens, func(t token) bool { return s.word(t, "select") }) && !st.Hides {
		st.Opaque, st.Hides = true, true
		return d.loose(s, st, 1)
	}
	return ""
}

// finish draws the conclusions that need the whole statement.
func (d *describer) finish(st *Statement, k kind) {
	st.Opaque = st.Opaque || slices.ContainsFunc(st.Calls, func(name string) bool { return !settled[name] })
	st.Secret = st.Secret || slices.ContainsFunc(st.Functions, func(name string) bool { return secretCalls[name] })
	harm := k.traits&harmless == 0 || st.Class == operation.Copy || st.Class == operation.Write || st.Opaque || len(st.Calls) > 0
	for _, e := range st.Effects {
		switch e.Kind {
		case Begin, Rollback, Deallocate, Use:
		default:
			harm = true
		}
	}
	st.ReadOnly = !harm
	define := st.Class == operation.DDL || st.Class == operation.Privilege
	if st.Opaque && (!define || len(st.Calls) > 0) {
		st.Effects = append(st.Effects, Effect{Kind: SetAnything})
	}
}

// settled are functions of the server's that have effects, or wait, but run and
// read nothing that the text does not show.
var settled = set("sleep benchmark get_lock release_lock release_all_locks last_insert_id nextval lastval setval")

// secretCalls are functions that take a password or a key.
var secretCalls = set("password old_password aes_encrypt aes_decrypt des_encrypt des_decrypt encode decode encrypt")

// tree reads a statement by its syntax tree.
func (d *describer) tree(s *statement, st *Statement) refusal {
	if why := d.cutInto(s, st); why != "" {
		return why
	}
	returning, newRow := d.cutReturning(s), s.cutNewRow()
	node, why := d.parse(s)
	if why != "" {
		return why
	}
	name, ok := nodeKind(node)
	if load, is := node.(*ast.LoadDataStmt); is && (load.FileLocRef != ast.FileLocClient) != st.Hides {
		return refusedSyntax
	}
	switch {
	case !ok:
		return refusedSyntax
	case name == st.Kind || name == "SELECT" && st.Class == operation.Copy || name+" LOCAL" == st.Kind:
	case name == "CREATE TABLE AS" && st.Kind == "CREATE TABLE":
		st.Kind = name
	case s.keyword(0) == "with" && (name == "UPDATE" || name == "DELETE"):
		st.Kind, st.Class = name, operation.Write
	default:
		return refusedSyntax // the parser takes it for something else
	}
	into := st.Effects
	w := d.walker(s, st)
	w.walk(node)
	if w.lost != "" {
		return w.lost
	}
	t := &tracer{opt: d.opt, names: d.a.names, calls: st.Calls, newRow: newRow}
	st.HasWhere = hasWhere(node)
	st.Writes = d.writes(node)
	d.temporary(node, st)
	st.Lineage = t.trace(node)
	d.keep(st, into)
	if st.Class == operation.Copy && name == "SELECT" {
		st.Lineage = nil // nothing is returned: it goes to a file of the server's
	}
	if w.locks {
		st.Effects = append(st.Effects, Effect{Kind: Lock})
	}
	if returning != nil {
		return d.returning(s, st, returning, node)
	}
	return ""
}

// keep puts the result into the variables of INTO.
func (d *describer) keep(st *Statement, into []Effect) {
	if st.Lineage == nil || len(into) == 0 {
		return
	}
	for i, e := range into {
		if e.Kind == Assign {
			st.Lineage.Written = append(st.Lineage.Written, lineage.Written{
				Relation: OfVariable, Column: e.Name, Output: st.Lineage.At(i, len(into)),
			})
		}
	}
	st.Lineage.Outputs = nil
	settle(st.Lineage)
}

func (d *describer) walker(s *statement, st *Statement) *walker {
	return &walker{st: st, opt: d.opt, names: d.a.names, apart: s.strangers()}
}

func (d *describer) parse(s *statement) (ast.StmtNode, refusal) {
	text, why := s.write(nil, d.neutral)
	if why != "" {
		return nil, why
	}
	return d.a.parsers.parse(string(text), d.opt)
}
