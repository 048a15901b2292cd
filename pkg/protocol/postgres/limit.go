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

// limit is a rule on the rows that an operation changes. The server counts them
// in the command's tag; what is over the limit is undone before it is
// committed, which is why nothing of the client's goes on until the tag is
// here: an Execute waits before its Sync, and a simple query outside of a
// transaction runs in one of ours.
type limit struct {
	*protocol.RowLimit
	analysis *sqltext.Analysis
	ours     bool   // the transaction is ours
	over     bool   // more rows were changed
	tag      []byte // the CommandComplete that waits for our COMMIT
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
	if portal == nil && c.status == 'I' {
		f.bracketed = true
		c.sendOwnQuery("BEGIN", debt{purpose: forBegin})
		c.pause()
		return wait
	}
	f.op.limit = &limit{RowLimit: rule, analysis: analysis}
	c.counting = f.op
	return cleared
}

// bracketed is the clearance of a simple query for which a transaction of ours
// was begun.
func (c *conversation) bracketed(analysis *sqltext.Analysis) clearance {
	f := &c.front
	if c.status != 'T' {
		c.deny(stateUndecided, "sluice: the transaction that counts rows could not be begun", "")
		return refused
	}
	f.op.limit = &limit{RowLimit: f.answer.Limit, analysis: analysis, ours: true}
	c.counting = f.op
	return cleared
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
		rows, ok := int64(0), true
		if kind == msgCommandComplete {
			o.Outcome.Tag = c.commandTag(frame[headerSize:])
			rows, ok = l.changed(o.statement, o.Outcome.Tag)
			o.statement++
		}
		why = ""
		if !ok || rows > l.Rows {
			why = fmt.Sprintf("it changed %d rows, which is more than %d, and was undone", rows, l.Rows)
		}
	}
	switch {
	case why != "":
		c.swallow(s, len(frame))
		l.over = true
		o.refuse(stateRefused, c.limitRefusal(l.RowLimit, why), l.Rule)
		if head.kind == oweExecute {
			c.counting = nil
			c.prepared.release(c.queue.pop().portal)
			c.refuseExecute(o)
		}
	case l.ours && outer(l.analysis, o.statement) == nil:
		c.swallow(s, len(frame)) // the last tag waits for our COMMIT
		l.tag = append(l.tag[:0], frame...)
	default:
		c.pass(s, len(frame), o)
		if head.kind == oweExecute {
			c.paid(protocol.Outcome{Status: protocol.OK})
		}
	}
}

// limitedReady ends a simple query that changed rows. It reports false if there
// is nothing to undo or to commit.
func (c *conversation) limitedReady(s *stream, frame []byte, head *debt) bool {
	o := head.op
	if head.own || o == nil || o.limit == nil || !o.limit.ours && (!o.limit.over || c.status != 'T') {
		return false
	}
	c.swallow(s, len(frame))
	c.queue.pop()
	switch {
	case !o.limit.ours:
		c.refuseQuery(o)
	case c.status == 'T' && !o.limit.over:
		c.sendOwnQuery("COMMIT", debt{purpose: forEnd, op: o})
	default:
		c.sendOwnQuery("ROLLBACK", debt{purpose: forEnd, op: o})
	}
	return true
}

// endOurs tells the client how its simple query ended, once our transaction
// has.
func (c *conversation) endOurs(o *op) {
	switch {
	case o.limit.over:
		c.write(protocol.ClientLeg, o.refusal, o)
	case o.Outcome.Status == "":
		o.Outcome.Status = protocol.OK
		c.write(protocol.ClientLeg, o.limit.tag, o)
	}
	c.sendReady()
	c.settle(o)
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
