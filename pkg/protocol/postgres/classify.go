package postgres

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// analyse returns what a text says, or nil when it could not be understood.
func (c *conversation) analyse(text []byte) *sqltext.Analysis {
	return c.analyseAs(text, c.settings.conforming, c.settings.utf8)
}

// understand is analyse for what the client sends. A new shape takes the parser
// long: it then reports false, once, and the message is fed again.
func (c *conversation) understand(text []byte) (analysis *sqltext.Analysis, now bool) {
	known := c.plugin.analyzer.Known(text, c.reading(c.settings.conforming, c.settings.utf8))
	switch {
	case known != nil && known.Parsed:
		analysis = known
	case known == nil && !c.pondering:
		c.pondering = true
		c.act(protocol.Action{Kind: protocol.Slow})
		return nil, false
	case known == nil:
		analysis = c.analyse(text)
	}
	c.pondering = false
	return analysis, true
}

// analyseAs is analyse for a text that was read when
// standard_conforming_strings had another value, and in
// another client_encoding.
func (c *conversation) analyseAs(text []byte, conforming, utf8 bool) *sqltext.Analysis {
	analysis := c.plugin.analyzer.Analyze(text, c.reading(conforming, utf8))
	if !analysis.Parsed {
		return nil
	}
	return analysis
}

// calling is an analysis as the functions of this database make it.
func (c *conversation) calling(analysis *sqltext.Analysis) *sqltext.Analysis {
	if analysis == nil {
		return nil
	}
	return analysis.Calling(c.catalog.builtins.taken)
}

// reading is how a text is read now, but for what it was sent under.
func (c *conversation) reading(conforming, utf8 bool) sqltext.Options {
	return sqltext.Options{StandardConformingStrings: conforming, UTF8: utf8, Folds: c.settings.folds, BuiltinNames: c.catalog.vouches()}
}

// refresh reads the definitions again before a statement is judged, if they
// may be old. It reports whether the statement has to wait. A transaction that
// has failed answers nothing, and runs nothing either. A question of ours inside
// a transaction may be its first query, after which it cannot be given another
// isolation level. So a statement that does no more than that asks nothing,
// and without masks none does: it is then rather taken for one that may call
// anything.
func (c *conversation) refresh(portal *portal) bool {
	if c.front.reads >= maxReads || c.status == 'E' || c.conn.Observe || c.status == 'T' && !c.catalog.reads() {
		return false
	}
	c.front.reads++
	c.readCatalog(portal == nil)
	return true
}

// steers reports whether a text does no more than begin, end or arrange a
// transaction, which depends on no definition.
func steers(analysis *sqltext.Analysis) bool {
	return analysis != nil && !slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool {
		return s.Class != operation.Transaction
	})
}

// maxReads bounds how often one statement makes the catalog be read.
const maxReads = 2

// describe fills an operation from a statement and, in the extended protocol,
// the portal that runs it. What it keeps it copies: buffers and portals are
// used again before the operation ends.
func (c *conversation) describe(o *op, text []byte, analysis *sqltext.Analysis, portal *portal) {
	if portal != nil {
		o.keepParams(portal)
		o.Operation.Params = o.params
		o.Operation.Source = text
	}
	c.record(o, text, analysis, portal)
	if analysis == nil {
		return
	}
	o.Operation.Parsed = true
	o.Operation.ReadOnly = true
	o.sql.Shape = analysis.Shape
	o.Operation.SQL = &o.sql
	for i := range analysis.Statements {
		statement := &analysis.Statements[i]
		o.addStatement(statement, &c.catalog)
		o.Operation.ReadOnly = o.Operation.ReadOnly && statement.ReadOnly && statement.Class != operation.Copy
		if slices.Contains(runners[:], statement.Kind) {
			c.describeBodies(o)
		}
	}
	o.joinDefinitions()
	o.Operation.Parsed = o.Operation.Parsed && (!c.catalog.follow || !c.catalog.stale() || c.status == 'E' || steers(analysis))
}

// runners are kinds that run or read what was prepared under a name. SQL and
// the protocol share these names.
var runners = [...]string{"EXECUTE", "FETCH", "MOVE"}

// maxBodies bounds what a rule sees of prepared statements.
const maxBodies = 256

// describeBodies adds to an operation whatever it may run of what was prepared
// by messages, which nobody was asked about: every statement and portal that
// has a name. With one that could not be understood, or too many, the
// operation is not understood either.
func (c *conversation) describeBodies(o *op) {
	for name, stmt := range c.prepared.statements {
		if name != "" {
			c.addBody(o, stmt)
		}
	}
	for name, portal := range c.prepared.portals {
		if name != "" {
			c.addBody(o, portal.stmt)
		}
	}
}

func (c *conversation) addBody(o *op, stmt *statement) {
	if stmt == nil || stmt.analysis == nil || len(o.sql.Statements) >= maxBodies {
		o.Operation.Parsed = false
		return
	}
	statements := c.calling(stmt.analysis).Statements
	for i := range statements {
		o.addStatement(&statements[i], &c.catalog)
	}
}

// keepParams copies a portal's parameters.
func (o *op) keepParams(portal *portal) {
	o.values = append(o.values, portal.values...)
	o.params = append(o.params, portal.params...)
	at := 0
	for i := range o.params {
		n := len(o.params[i].Text)
		if !o.params[i].Null {
			o.params[i].Text = o.values[at : at+n : at+n]
		}
		at += n
	}
}

// forwarded notes what a statement that was just forwarded may change.
func (c *conversation) forwarded(o *op, analysis *sqltext.Analysis) {
	o.Operation.Bytes, o.Operation.Source = nil, nil // the buffer is used again
	c.dirty = c.dirty || o.touched
	c.tally.ran()
	c.moved(analysis)
	if analysis == nil {
		clear(c.cursors)
		c.unsettled, c.shaken, c.defines, c.installs = true, true, true, true
		c.standing.moved = true
		c.standing.change()
		c.invalidate()
		return
	}
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		c.prepared.follow(s.Effects)
		c.standing.follow(s, c.catalog.serversOwn)
		if c.catalog.sets(s) {
			c.standing.change()
			c.standing.moved = true
		}
		c.forgetCursors(s)
		now := c.catalog.sets(s) || slices.ContainsFunc(s.Effects, unsettles)
		c.shaken = c.shaken || now
		c.unsettled = c.unsettled || now || c.shaken && s.Class == operation.Transaction // which may take it back
		c.defines = c.defines || s.Opaque || s.Class == operation.DDL
		c.installs = c.installs || s.Class == operation.Procedural || slices.Contains(installs[:], s.Kind)
	}
	if c.defines || c.installs {
		c.invalidate()
	}
}

// unsettles reports whether an effect may change how the text behind it is
// read. The server reports such a change only once it is idle.
func unsettles(e sqltext.Effect) bool {
	switch e.Kind {
	case sqltext.SetAnything, sqltext.ResetAll, sqltext.Discard:
		return true
	case sqltext.SetParameter, sqltext.ResetName:
		return e.Name == "client_encoding" || e.Name == "standard_conforming_strings"
	}
	return false
}

// invalidate notes, for all sessions, that definitions may have changed: when
// the statement is forwarded, and again when its transaction has ended.
func (c *conversation) invalidate() {
	if c.defines {
		c.plugin.targets.changes.Add(1)
	}
	if c.installs {
		c.plugin.targets.installs.Add(1)
	}
}
