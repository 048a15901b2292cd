package mysql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// understand returns what a text says, or nil when it could not be understood.
// A new shape takes the parser long: it then reports false, once, and the
// message is fed again.
func (c *conversation) understand(text []byte) (analysis *mysqltext.Analysis, now bool) {
	if !c.standing.readable() {
		return nil, true
	}
	analysis = c.plugin.analyzer.Known(text, c.standing.reading)
	switch {
	case analysis == nil && !c.pondering:
		c.pondering = true
		c.act(protocol.Action{Kind: protocol.Slow})
		return nil, false
	case analysis == nil:
		analysis = c.plugin.analyzer.Analyze(text, c.standing.reading)
	}
	c.pondering = false
	if !analysis.Parsed || shifts(analysis) {
		return nil, true
	}
	return analysis, true
}

// shifts reports whether a statement of a text may change how those behind it
// are read: the server reads each when the one before has run.
func shifts(analysis *mysqltext.Analysis) bool {
	last := len(analysis.Statements) - 1
	for last > 0 && analysis.Statements[last].Nested {
		last--
	}
	for i := range max(last, 0) {
		s := &analysis.Statements[i]
		if s.Opaque || slices.ContainsFunc(s.Effects, func(e mysqltext.Effect) bool {
			return e.Kind == mysqltext.SetAnything || e.Kind == mysqltext.SetVariable && !slices.Contains(harmless, e.Name)
		}) {
			return true
		}
	}
	return false
}

// describe fills an operation from a text.
func (c *conversation) describe(o *op, text []byte, analysis *mysqltext.Analysis) {
	o.analysis = analysis
	o.reach = c.touch(analysis)
	c.record(o, text, analysis)
	if analysis == nil {
		return
	}
	o.Operation.Parsed, o.Operation.ReadOnly = true, true
	o.sql.Shape = analysis.Shape
	o.Operation.SQL = &o.sql
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		shown, steady := c.masking.seen(s.SQLStatement, c.standing.database)
		if slices.ContainsFunc(s.Writes, func(name string) bool { schema, _ := resolve(name, c.standing.database); return schema == "mysql" }) {
			shown.Class, shown.Opaque = operation.Privilege, true // the tables of accounts, rights and code
		}
		o.Operation.ReadOnly = o.Operation.ReadOnly && s.ReadOnly && steady
		o.sql.Statements = append(o.sql.Statements, shown)
		if s.Runs != "" && !c.describeRun(o, s.Runs) {
			o.Operation.Parsed = false
		}
	}
}

// describeRun shows rules what an EXECUTE runs.
func (c *conversation) describeRun(o *op, name string) bool {
	ran := c.masking.runs(name, c.standing.database)
	if ran == nil {
		return false
	}
	for i := range ran.Statements {
		shown, _ := c.masking.seen(ran.Statements[i].SQLStatement, c.standing.database) // EXECUTE is not read-only
		o.sql.Statements = append(o.sql.Statements, shown)
	}
	return true
}

// record sets what is kept of a statement: its text and parameters as they
// are, or sealed where they may hold what a mask hides or a secret.
func (c *conversation) record(o *op, text []byte, analysis *mysqltext.Analysis) {
	secret := analysis == nil && namesSecret(text) || analysis != nil && slices.ContainsFunc(analysis.Statements, func(s mysqltext.Statement) bool { return s.Secret })
	o.Operation.SealedResponse = secret
	sealed := secret || o.reach.touched || analysis == nil && !c.conn.Masks.Empty()
	switch {
	case sealed || c.detected(text):
		o.text = c.seal(o.text, text)
	default:
		o.text = append(o.text, text...)
	}
	o.Operation.Text = o.text
	o.Operation.SealedRequest = sealed
	for i := range o.Operation.Params {
		p := &o.Operation.Params[i]
		p.Sealed = sealed || c.detected(p.Text.Reveal())
	}
}

// namesSecret reports whether a text that could not be understood may set a
// password or the like.
func namesSecret(text []byte) bool {
	lower := strings.ToLower(string(text))
	return slices.ContainsFunc([]string{"identified", "password", "secret", "master_", "mysql.user", "authentication"}, func(word string) bool { return strings.Contains(lower, word) })
}

// detected reports whether a detector of the resource's finds something.
func (c *conversation) detected(value []byte) bool {
	_, _, by := c.conn.Masks.Find(value)
	return by != nil
}

// seal appends what stands for a value that must not be kept.
func (c *conversation) seal(dst, value []byte) []byte {
	if c.conn.Seal != nil {
		return c.conn.Seal(dst, value)
	}
	dst = strconv.AppendInt(append(dst, "[sealed "...), int64(len(value)), 10)
	return append(dst, " bytes]"...)
}

// guarded reports whether a rule or a mask depends on understanding what a
// statement says.
func (c *conversation) guarded() bool { return c.conn.Masks.Placed() || c.conn.SQLRules }

// cleared takes the decision of the command at the front to its end, after the
// guard has answered. Where it reports false the client was told.
func (c *conversation) cleared(s *stream, size int) bool {
	f := &c.front
	o := f.op
	switch limit := f.answer.Limit; {
	case f.err != nil || f.answer.Effect != protocol.Allow:
		c.deny(s, size, errorOf(refusalCode(f.err), refusal(f.answer, f.err)), "")
	case limit != nil && !o.Operation.ReadOnly:
		reason := "sluice: refused by rule " + strconv.Quote(limit.Rule) + ": changed rows are not counted in MySQL before they are committed"
		c.deny(s, size, errorOf(codeRefused, reason), limit.Rule)
	case !o.Operation.Parsed && o.Operation.Kind == operation.Statement && c.guarded() && f.answer.Approval == 0:
		c.deny(s, size, errorOf(codeRefused, "sluice: this statement could not be understood, and rules or masks apply here"), "")
	case o.reach.refusal != "":
		c.deny(s, size, errorOf(codeRefused, o.reach.refusal), o.reach.mask)
	default:
		return true
	}
	return false
}

// forwarded notes what a command that was just forwarded may change.
func (c *conversation) forwarded(o *op) {
	if o.Operation.Kind != operation.Statement {
		return
	}
	c.standing.stale = c.standing.stale || moves(o.analysis)
	c.masking.ran(o, false)
}

// ended notes what it may have changed now that it has ended.
func (c *conversation) ended(o *op, done bool) {
	if o.Operation.Kind == operation.Statement {
		c.masking.ran(o, done)
	}
}
