package postgres

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// lineage is where the values of the result under way come from, nil where
// that is not known.
func (o *op) lineage() *lineage.Trace {
	if o.ran != nil {
		return o.ran.Lineage
	}
	if s := outer(o.analysis, o.statement); s != nil {
		return s.Lineage
	}
	return nil
}

// outer returns the nth statement of a text, nil where it has not so many.
func outer(analysis *sqltext.Analysis, n int) *sqltext.Statement {
	if analysis == nil {
		return nil
	}
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		if s.Nested {
			continue
		}
		if n == 0 {
			return s
		}
		n--
	}
	return nil
}

// only returns the statement of a text that has no other.
func only(analysis *sqltext.Analysis) *sqltext.Statement {
	if analysis == nil || len(analysis.Statements) == 0 || several(analysis) {
		return nil
	}
	return &analysis.Statements[0]
}

// behind returns the statement that EXECUTE or FETCH is about, nil where that
// is not known.
func (c *conversation) behind(analysis *sqltext.Analysis) *sqltext.Analysis {
	s := only(analysis)
	switch {
	case s == nil || s.Runs == "":
		return nil
	case s.Kind != "EXECUTE":
		return c.calling(c.cursors[s.Runs])
	case len(s.Calls) > 0 || len(s.Relations) > 0:
		return nil
	}
	stmt := c.prepared.statements[s.Runs]
	if stmt == nil || stmt.vouched != c.catalog.vouches() || only(stmt.analysis) == nil {
		return nil
	}
	return c.calling(stmt.analysis)
}

// touch is catalog.touch of a statement, or of what it runs by a name.
func (c *conversation) touch(analysis *sqltext.Analysis) touch {
	behind := c.behind(analysis)
	if behind == nil {
		return c.catalog.touch(analysis)
	}
	found := c.catalog.touch(behind)
	if s := only(behind); s.Runs != "" || s.Kind == "PREPARE" {
		found.touched, found.refusal = true, "sluice: a prepared statement that runs another is refused: columns are masked here"
	}
	return found
}

// named keeps what a statement gave a name, once it did: a failure leaves the
// name as it was.
func (c *conversation) named(o *op) {
	s := only(o.analysis)
	switch {
	case s == nil:
	case s.Kind == "PREPARE" && o.Outcome.Tag == "PREPARE":
		body := &sqltext.Analysis{Statements: bodyOf(o.analysis), Parsed: true}
		for _, e := range s.Effects {
			if e.Kind == sqltext.Prepare && !c.prepared.full(len(o.text)) {
				c.prepared.putStatement(e.Name, &statement{text: bytes.Clone(o.text), analysis: body, vouched: o.vouched, unsaid: true})
			}
		}
	case s.Kind == "DECLARE" && o.Outcome.Tag == "DECLARE CURSOR" && len(c.cursors) < c.prepared.most:
		if c.cursors == nil {
			c.cursors = make(map[string]*sqltext.Analysis)
		}
		for _, e := range s.Effects {
			if e.Kind == sqltext.Declare {
				c.cursors[e.Name] = o.analysis
			}
		}
		c.declare(s)
	case s.Kind == "DEALLOCATE" && strings.HasPrefix(o.Outcome.Tag, "DEALLOCATE"):
		for _, e := range s.Effects {
			c.prepared.dropForgotten(e.Name)
		}
	}
}

// bodyOf returns the statement that PREPARE prepares: what reads is a SELECT,
// and what writes stands behind it as a statement of its own.
func bodyOf(analysis *sqltext.Analysis) []sqltext.Statement {
	body := slices.Clone(analysis.Statements)
	body[0].Kind, body[0].Effects = "SELECT", nil
	return body
}

// forgetCursors notes that names of cursors may mean something else.
func (c *conversation) forgetCursors(s *sqltext.Statement) {
	if s.Opaque && s.Kind != "FETCH" && s.Kind != "MOVE" {
		clear(c.cursors)
		return
	}
	for _, e := range s.Effects {
		if e.Kind == sqltext.Declare || e.Kind == sqltext.Close && e.Name != "" {
			delete(c.cursors, e.Name)
		} else if e.Kind == sqltext.Close || e.Kind == sqltext.Discard {
			clear(c.cursors)
		}
	}
}
