package postgres

import (
	"maps"
	"slices"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// ending is how far it is with what a transaction has left for its commit:
// triggers and foreign keys that are deferred change rows there. Before the
// message that commits is forwarded they are made to, and are counted.
type ending uint8

const (
	notEnding      ending = iota
	countingBefore        // rows are counted before
	countingAfter         // and after
	ended                 // nothing is left
)

// deferredNow has the server do at once what is left for the commit.
const deferredNow = "SET CONSTRAINTS ALL IMMEDIATE"

// leaves reports whether the open transaction may have left something that is to
// be counted.
func (t *tally) leaves() bool { return t.changed != nil && t.defers && t.ending != ended }

// settleDeferred has it done.
func (c *conversation) settleDeferred(sync bool) {
	c.tally.ending = countingBefore
	c.ownQuestions(sync, question{tallyQuery, forTally}, question{deferredNow, forDeferred}, question{tallyQuery, forTally})
	c.pause()
}

// settled takes one of the two counts, and adds what is between them to every
// rule under which the transaction changed something: whose it is nobody can say.
func (t *tally) settled(rows int64) {
	if t.ending == countingBefore {
		t.ending = countingAfter
		return
	}
	t.ending = ended
	for _, rule := range slices.Sorted(maps.Keys(t.changed)) {
		share := t.changed[rule]
		l := &limit{RowLimit: share.RowLimit, rows: rows}
		if why := t.over(l); why != "" && t.excess == nil {
			t.excess, t.why = share.RowLimit, why
		}
		share.rows += rows
	}
}

// endsPipeline is called before a message that commits what a pipeline did
// outside of a transaction block. It reports whether that may go on: if not it is
// fed again, and what follows a refusal is skipped up to Sync.
func (c *conversation) endsPipeline(kind byte) bool {
	if kind != msgSync && kind != msgQuery && kind != msgFunctionCall || c.skip || c.copyIn {
		return true
	}
	if !c.awaitIdle() {
		return false
	}
	if c.tally.block {
		return true
	}
	if c.tally.leaves() {
		c.settleDeferred(false)
		return false
	}
	excess := c.tally.excess
	if excess == nil {
		return true
	}
	why, o := c.limitRefusal(excess, c.tally.why), c.tally.last
	c.tally.last, c.tally.excess = nil, nil
	if o == nil {
		c.refuseMessage(stateRefused, why)
		return true
	}
	o.refuse(stateRefused, why, excess.Rule)
	c.refuseExecute(o)
	return true
}

// commitClearance is the clearance of a text that commits.
func (c *conversation) commitClearance(analysis *sqltext.Analysis, portal *portal) clearance {
	if c.tally.changed == nil || c.tally.excess == nil && !c.tally.leaves() || !commits(analysis) {
		return cleared
	}
	if !c.awaitIdle() {
		return wait
	}
	if c.tally.failed || c.tally.block && !commitsBlock(analysis) {
		return cleared // it rolls back, or cannot commit
	}
	if c.tally.leaves() {
		c.settleDeferred(portal == nil)
		return wait
	}
	excess := c.tally.excess
	if excess == nil {
		return cleared
	}
	c.tally.excess, c.tally.undo = nil, true
	c.deny(stateRefused, c.limitRefusal(excess, c.tally.why), excess.Rule)
	return refused
}

// committing are the classes of what may commit outside of a transaction block:
// procedures, and what runs in transactions of its own.
var committing = [...]operation.Class{operation.Procedural, operation.Admin, operation.DDL, operation.UnknownSQL}

// commits reports whether a text may commit: by its words, or outside of a
// transaction block by what it runs.
func commits(analysis *sqltext.Analysis) bool {
	return commitsBlock(analysis) || slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool {
		return slices.Contains(committing[:], s.Class)
	})
}

// commitsBlock reports whether a text ends a transaction block for good.
func commitsBlock(analysis *sqltext.Analysis) bool {
	return analysis == nil || slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool {
		return s.Kind == "COMMIT" || s.Kind == "PREPARE TRANSACTION"
	})
}

// follow takes a command's tag for what it says of the transaction that is open
// now, since ReadyForQuery tells only behind a whole pipeline. Where a tag may
// mean two things it is the one that has more counted.
func (c *conversation) follow(tag string) {
	switch tag {
	case "BEGIN", "START TRANSACTION":
		c.tally.block = true
	case "COMMIT", "PREPARE TRANSACTION":
		c.endTransaction() // another one may have begun with it
	case "ROLLBACK":
		c.tally.block, c.tally.failed = false, false
	}
}

// commitFailed is told that what was left for the commit failed, as the commit
// would have. The statement of the client's that commits fails by it, or else the
// pipeline.
func (c *conversation) commitFailed(outcome protocol.Outcome) {
	c.tally.ending = notEnding
	if o := c.tally.last; o != nil {
		c.tally.last = nil
		o.end(outcome)
		c.settle(o)
	}
	if c.front.op != nil {
		c.front.failed, c.tally.undo = true, true
	}
}

// undo ends a transaction block whose commit failed: the client believes that it
// is over.
func (c *conversation) undo(s *stream, frame []byte) {
	c.tally.undo = false
	c.swallow(s, len(frame))
	if d := c.queue.pop(); d.op != nil {
		c.settle(d.op)
	}
	c.sendOwnQuery("ROLLBACK", debt{purpose: forEnd})
}
