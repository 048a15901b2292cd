package postgres

import (
	"slices"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// What a cursor or a portal shows was decided by the definitions of when it was
// declared or bound. The masks of now are not those of its rows once a relation
// with masked columns was defined anew, so it is not read from any more.

// moved counts a statement that was just forwarded, if it may give a relation
// with masked columns another definition.
func (c *conversation) moved(analysis *sqltext.Analysis) {
	if analysis != nil && !slices.ContainsFunc(analysis.Statements, c.redefines) {
		return
	}
	c.moves = true
	c.plugin.targets.moves.Add(1)
}

// redefines: where no mask applies nothing is known of which relations have
// some elsewhere.
func (c *conversation) redefines(s sqltext.Statement) bool {
	switch s.Kind {
	case "CREATE INDEX", "CREATE STATISTICS", "COMMENT":
		return false
	}
	return s.Class == operation.DDL && (!c.catalog.needed() || c.catalog.concerns(&s))
}

// settleMoves counts what a transaction changed once more when it has ended:
// only now do others see it.
func (c *conversation) settleMoves() {
	if c.moves {
		c.plugin.targets.moves.Add(1)
	}
	c.moves = false
}

// declare notes when a cursor was declared.
func (c *conversation) declare(s *sqltext.Statement) {
	if c.declared == nil {
		c.declared = make(map[string]uint64)
	}
	for _, e := range s.Effects {
		if e.Kind == sqltext.Declare && len(c.declared) < c.prepared.most {
			c.declared[e.Name] = c.plugin.targets.moves.Load()
		}
	}
}

// outlived reports whether a statement reads rows that were decided by
// definitions which are gone.
func (c *conversation) outlived(analysis *sqltext.Analysis, portal *portal) bool {
	now := c.plugin.targets.moves.Load()
	if portal != nil && portal.moves != now {
		return true
	}
	return analysis != nil && slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool {
		return (s.Kind == "FETCH" || s.Kind == "MOVE") && c.declared[s.Runs] != now
	})
}
