package sqltext

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluicegate/sluice/pkg/operation"
)

// description is what describe found.
type description struct {
	analysis  *Analysis
	shareable bool // no literal of the text had a part in it
}

// describe reads a syntax tree. It visits every node by reflection, so that a
// node which nobody thought of still has its relations and functions seen.
func describe(tree *pg_query.ParseResult, names *builtins, builtinNames bool) description {
	w := &walker{names: names, builtinNames: builtinNames, shareable: true}
	for _, raw := range tree.GetStmts() {
		w.statement(raw.GetStmt(), false)
	}
	for i := range w.found {
		finish(w.found[i])
	}
	found := make([]Statement, len(w.found))
	for i, st := range w.found {
		found[i] = st.Statement
	}
	return description{&Analysis{Statements: found, Parsed: true}, w.shareable}
}

// statement in the making.
type statement struct {
	Statement
	traits     trait
	runsUnseen bool // SQL that the text does not show
}

// walker collects names on a walk down the tree. What is found belongs to the
// innermost statement and to all around it.
type walker struct {
	names        *builtins
	builtinNames bool
	shareable    bool

	found []*statement
	open  []*statement // from the outermost
	ctes  []string     // the WITH queries in scope
}

// statement reads one statement and what is in it.
func (w *walker) statement(node *pg_query.Node, nested bool) {
	st := &statement{}
	st.Nested = nested
	classify(st, node)
	if !nested {
		st.Lineage = trace(node, w.names, w.builtinNames)
	}
	st.CopyTo = copyTo(node)
	st.Moves = moves(node)
	w.shareable = w.shareable && st.traits&shares != 0
	w.found = append(w.found, st)
	w.open = append(w.open, st)
	if m := inner(node); m != nil {
		w.targets(st, m)
		w.message(m)
	}
	w.open = w.open[:len(w.open)-1]
	if nested && len(w.open) > 0 {
		w.absorb(w.open[len(w.open)-1], st)
	}
}

// absorb makes the statement around st at least what st is.
func (w *walker) absorb(outer, st *statement) {
	outer.traits &= st.traits | ^harmless
	outer.Opaque = outer.Opaque || st.Opaque
	outer.runsUnseen = outer.runsUnseen || st.runsUnseen
	outer.Hides = outer.Hides || st.Hides
	if outer.Class == operation.Read {
		outer.Class = st.Class
	}
	for _, name := range st.Writes {
		outer.Writes = addName(outer.Writes, name)
	}
}

// finish draws the conclusions that need the whole statement.
func finish(st *statement) {
	st.ReadOnly = st.traits&harmless != 0 && !st.Opaque
	if st.runsUnseen {
		st.Effects = append(st.Effects, Effect{Kind: SetAnything})
	}
}

// inner returns what is in a node.
func inner(node *pg_query.Node) protoreflect.Message {
	m := node.ProtoReflect()
	fd := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	if fd == nil {
		return nil
	}
	return m.Get(fd).Message()
}

// message visits one node. Fields go in the order of their definition, except
// that WITH comes first: its names are in scope in all others.
func (w *walker) message(m protoreflect.Message) {
	w.look(m.Interface())
	if _, ok := m.Interface().(*pg_query.LockingClause); ok {
		return // it names what FROM already did, by alias
	}
	scope := len(w.ctes)
	fields := m.Descriptor().Fields()
	with := fields.ByName("with_clause")
	if with != nil && m.Has(with) {
		if clause, ok := m.Get(with).Message().Interface().(*pg_query.WithClause); ok {
			w.with(clause)
		}
	}
	for i := range fields.Len() {
		if fd := fields.Get(i); fd != with && m.Has(fd) {
			w.field(fd, m.Get(fd))
		}
	}
	w.ctes = w.ctes[:scope]
}

func (w *walker) field(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case fd.Kind() != protoreflect.MessageKind:
	case fd.IsList():
		for i := range v.List().Len() {
			w.child(v.List().Get(i).Message())
		}
	default:
		w.child(v.Message())
	}
}

func (w *walker) child(m protoreflect.Message) {
	node, ok := m.Interface().(*pg_query.Node)
	if !ok {
		if rv, ok := m.Interface().(*pg_query.RangeVar); ok {
			w.relation(rv, false)
		}
		w.message(m)
		return
	}
	if rv := node.GetRangeVar(); rv != nil {
		w.relation(rv, true)
	}
	if isStatement(node) && !w.dry() {
		w.statement(node, true)
		return
	}
	if in := inner(node); in != nil {
		w.message(in)
	}
}

func (w *walker) dry() bool {
	return slices.ContainsFunc(w.open, func(st *statement) bool { return st.traits&dry != 0 })
}

// with brings the names of WITH queries into scope: each for those behind it,
// all for each other when RECURSIVE.
func (w *walker) with(clause *pg_query.WithClause) {
	if clause.GetRecursive() {
		for _, node := range clause.GetCtes() {
			w.ctes = append(w.ctes, node.GetCommonTableExpr().GetCtename())
		}
	}
	for _, node := range clause.GetCtes() {
		w.child(node.ProtoReflect())
		if !clause.GetRecursive() {
			w.ctes = append(w.ctes, node.GetCommonTableExpr().GetCtename())
		}
	}
}

// relation notes a relation. Only where a query reads from it (a node of its
// own, as in FROM) can an unqualified name be that of a WITH query; the target
// of INSERT, UPDATE, DELETE or MERGE never is.
func (w *walker) relation(rv *pg_query.RangeVar, read bool) {
	if read && rv.GetSchemaname() == "" && slices.Contains(w.ctes, rv.GetRelname()) {
		return
	}
	w.eachOpen(func(st *statement) {
		st.Relations = addName(st.Relations, relationName(rv))
	})
}

func (w *walker) eachOpen(f func(*statement)) {
	for _, st := range w.open {
		f(st)
	}
}
