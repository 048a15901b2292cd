package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// limit is a rule on the rows that an operation changes, with those that
// statements before it changed in the same transaction under the same rule. The
// server counts them (tally), and of those that the statement names in the
// command's tag, which is the least that there are. What is over the limit is
// undone before it is committed, which is why nothing of the client's goes on
// until the count is here: an Execute waits before its Sync, and a simple query
// outside of a transaction runs in one of ours.
type limit struct {
	*protocol.RowLimit
	analysis *sqltext.Analysis
	portal   bool   // it is of an Execute
	ours     bool   // the transaction is ours
	over     bool   // more rows were changed
	rows     int64  // that it changed
	tag      []byte // the CommandComplete that waits for the count, or our COMMIT
}

// counted are the kinds of statements whose tag tells how many rows changed.
var counted = [...]string{"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"}

// limitClearance makes sure that what the front changes can be counted, and
// undone.
func (c *conversation) limitClearance(analysis *sqltext.Analysis, portal *portal) clearance {
	f := &c.front
	rule := f.answer.Limit
	if rule == nil || portal == nil && c.status == 'E' || harmless(analysis) {
		return cleared
	}
	if why := uncounted(analysis); why != "" {
		c.deny(stateRefused, c.limitRefusal(rule, why), rule.Rule)
		return refused
	}
	switch {
	case portal == nil && c.status == 'I':
		f.bracketed = true
		c.sendOwnQuery("BEGIN", debt{purpose: forBegin})
	case c.tally.fresh:
		return c.limited(analysis, portal)
	}
	f.tallied = true
	c.readTally(portal == nil, false)
	c.pause()
	return wait
}

// limited is the clearance of what changes rows, once those before it are
// counted and, for a simple query, a transaction of ours was begun.
func (c *conversation) limited(analysis *sqltext.Analysis, portal *portal) clearance {
	f := &c.front
	o := f.op
	switch {
	case c.owesTally():
		c.pause()
		return wait
	case f.bracketed && c.status == 'I':
		c.deny(stateUndecided, "sluice: the transaction that counts rows could not be begun", "")
		return refused
	}
	o.limit = &limit{RowLimit: f.answer.Limit, analysis: analysis, portal: portal != nil, ours: f.bracketed}
	if c.tally.known {
		c.counting = o
		return cleared
	}
	c.deny(stateRefused, c.limitRefusal(o.limit.RowLimit, uncounting), o.limit.Rule)
	if !f.bracketed {
		return refused
	}
	o.limit.over = true
	c.sendOwnQuery("ROLLBACK", debt{purpose: forEnd, op: o})
	return over
}

func (c *conversation) limitRefusal(rule *protocol.RowLimit, why string) string {
	if rule.Reason != "" {
		why += ": " + rule.Reason
	}
	return protocol.Decision{Rule: rule.Rule, Reason: why}.Refusal()
}

// harmless reports whether a text changes no row.
func harmless(analysis *sqltext.Analysis) bool {
	if analysis == nil {
		return false
	}
	return !slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool {
		return !s.Nested && !unchanging(&s)
	})
}

// unchanging reports whether a statement changes no row, nor do those in it.
func unchanging(s *sqltext.Statement) bool {
	return s.ReadOnly || s.Class == operation.Transaction || s.Class == operation.SessionSet
}

// uncounted says why nobody can tell how many rows a text changes, "" if the
// server's tags do.
func uncounted(analysis *sqltext.Analysis) string {
	if analysis == nil {
		return "the rows that it changes cannot be counted, because it could not be understood"
	}
	quiet := false // the statement around the nested ones runs none of them
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		switch {
		case s.Nested && quiet:
		case s.Nested:
			return "the rows that a statement inside of another changes cannot be counted"
		case s.Class == operation.Transaction && several(analysis):
			return "the rows that it changes cannot be counted where the same text begins or ends a transaction"
		case !unchanging(s) && !slices.Contains(counted[:], s.Kind):
			return fmt.Sprintf("the rows that %s changes cannot be counted", s.Kind)
		default:
			quiet = s.ReadOnly
		}
	}
	return ""
}

// changed is how many rows a command changed, by its tag: a verb, for INSERT a
// zero, and the number. It reports false for a tag that has none.
func (l *limit) changed(statement int, tag string) (rows int64, ok bool) {
	if s := outer(l.analysis, statement); s != nil && unchanging(s) {
		return 0, true
	}
	rows, err := strconv.ParseInt(tag[strings.LastIndexByte(tag, ' ')+1:], 10, 64)
	return rows, err == nil
}

// answerLimited ends one command that changed rows, before anything of it is
// committed.
func (c *conversation) answerLimited(s *stream, kind byte, frame []byte, head *debt) {
	o := head.op
	l := o.limit
	why := "the rows that it changed cannot be counted before all that it returns are asked for"
	if kind != msgPortalSuspended {
		why = c.tagged(o, kind, frame)
	}
	switch {
	case why != "":
		c.swallow(s, len(frame))
		l.over = true
		o.refuse(stateRefused, c.limitRefusal(l.RowLimit, why), l.Rule)
		if l.portal {
			c.counting = nil
			c.prepared.release(c.queue.pop().portal)
			c.refuseExecute(o)
		}
	case !l.portal && outer(l.analysis, o.statement) != nil:
		c.pass(s, len(frame), o)
	default:
		c.swallow(s, len(frame)) // the last tag waits
		l.tag = append(l.tag[:0], frame...)
		if l.portal {
			d := c.queue.pop()
			c.prepared.keep(d.undo)
			c.prepared.release(d.portal)
			c.tally.op = o
			c.readTally(false, false)
		}
	}
}

// tagged takes what the server's tag says of a command, and says why that alone
// is too much.
func (c *conversation) tagged(o *op, kind byte, frame []byte) string {
	if kind != msgCommandComplete {
		return ""
	}
	o.Outcome.Tag = c.commandTag(frame[headerSize:])
	rows, ok := o.limit.changed(o.statement, o.Outcome.Tag)
	o.statement++
	if !ok {
		return uncounting
	}
	o.limit.rows += rows
	return c.tally.over(o.limit)
}

// limitedReady ends a simple query that changed rows. It reports false if there
// is nothing to undo, to count or to commit.
func (c *conversation) limitedReady(s *stream, frame []byte, head *debt) bool {
	o := head.op
	if head.own || o == nil || o.limit == nil || c.status != 'T' && !o.limit.ours {
		return false
	}
	c.swallow(s, len(frame))
	c.queue.pop()
	switch {
	case c.status == 'T' && !o.limit.over:
		c.tally.op = o
		c.readTally(true, o.limit.ours)
	case o.limit.ours:
		c.sendOwnQuery("ROLLBACK", debt{purpose: forEnd, op: o})
	default:
		c.refuseQuery(o)
	}
	return true
}

// endOurs tells the client how its simple query ended, once our transaction
// has.
func (c *conversation) endOurs(o *op) {
	if o != nil && o.limit.over {
		c.write(protocol.ClientLeg, o.refusal, o)
	}
	c.endLimited(o)
}

// endLimited tells the client that a simple query has ended.
func (c *conversation) endLimited(o *op) {
	if o != nil && o.Outcome.Status == "" {
		o.Outcome.Status = protocol.OK
		c.write(protocol.ClientLeg, o.limit.tag, o)
	}
	c.sendReady()
	if o != nil {
		c.settle(o)
	}
	if c.queue.len() == 0 {
		c.settleSession()
	}
}

// sendOwnQuery asks the server something that has no rows.
func (c *conversation) sendOwnQuery(text string, d debt) {
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst, mark := open(dst, msgQuery)
		return shut(appendString(dst, text), mark)
	})
	d.kind, d.own = oweQuery, true
	c.queue.push(d)
}
