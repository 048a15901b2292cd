package postgres

import (
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// tally is what the server counts of the rows that the open transaction
// changes: each that is inserted, updated or deleted, by whomever. The tag of a
// statement has only those that it names; triggers, rules and foreign keys
// change others.
type tally struct {
	relations map[uint32]int64  // rows of each, when they were counted last
	fresh     bool              // nothing has run since
	changed   map[string]*share // in this transaction, by the rule

	counts map[uint32]int64 // of the answer under way
	known  bool             // that is whole, and the server does count
	defers bool             // there are triggers or foreign keys that can wait for the commit
	op     *op              // has run, and waits for the answer; nil: one that is to run does

	ending ending
	block  bool               // a transaction block is open, as far as the server has answered
	failed bool               // it has failed
	last   *op                // of a pipeline, which its end may refuse
	excess *protocol.RowLimit // what the end of the transaction is over
	why    string
	undo   bool // a transaction block is to be ended, whose end was refused or failed
}

// share is what statements under one rule changed.
type share struct {
	*protocol.RowLimit
	rows int64
}

// tallyQuery asks for the rows that the open transaction changed so far, with some
// of others before it, by relation, for one row of relation 0 if the server
// counts at all (track_counts, which only a superuser can switch off), and one of
// relation 1 if something can be deferred. Relations of the server's own and
// TOAST are no rows of anybody's. It names everything by its schema, so that no
// search_path can put other operators in.
const tallyQuery = `
SELECT c.oid, pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) OPERATOR(pg_catalog.+)
pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)
FROM pg_catalog.pg_class c
WHERE c.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m}'::pg_catalog."char"[])
AND (pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)) OPERATOR(pg_catalog.>) '0'::pg_catalog.int8
UNION ALL
SELECT '0'::pg_catalog.oid, '0'::pg_catalog.int8
WHERE pg_catalog.current_setting('track_counts') OPERATOR(pg_catalog.=) 'on'
UNION ALL
SELECT '1'::pg_catalog.oid, '0'::pg_catalog.int8
WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgdeferrable)`

// maxTally bounds the relations of one answer.
const maxTally = 1 << 16

// question is one that the server is asked for ourselves.
type question struct {
	text    string
	purpose purpose
}

// readTally asks the server, like readCatalog; commits says that the transaction
// is ours and ends next.
func (c *conversation) readTally(sync, commits bool) {
	c.tally.known = false
	if commits && c.tally.defers {
		c.ownQuestions(sync, question{deferredNow, forDeferred}, question{tallyQuery, forTally})
		return
	}
	c.ownQuestions(sync, question{tallyQuery, forTally})
}

// ownQuestions asks the server to count rows, and what goes before that.
func (c *conversation) ownQuestions(sync bool, questions ...question) {
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst = closeOwn(dst)
		for _, q := range questions {
			dst = closeOwn(appendOwn(dst, q.text, nil))
		}
		return appendEnd(dst, sync)
	})
	owe := func(purpose purpose, kinds ...debtKind) {
		for _, kind := range kinds {
			c.queue.push(debt{kind: kind, own: true, purpose: purpose})
		}
	}
	owe(forTally, oweClose, oweClose)
	for _, q := range questions {
		owe(q.purpose, oweParse, oweBind, oweExecute, oweClose, oweClose)
	}
	if sync {
		owe(forTally, oweSync)
	}
}

// take keeps one row of the answer.
func (t *tally) take(body []byte) bool {
	r := reader{b: body}
	if r.int16() != 2 || len(t.counts) == maxTally {
		return false
	}
	oid, err := strconv.ParseUint(string(r.take(int(r.int32()))), 10, 32)
	if err != nil {
		return false
	}
	if t.counts == nil {
		t.counts = make(map[uint32]int64)
	}
	rows, err := strconv.ParseInt(string(r.take(int(r.int32()))), 10, 64)
	t.counts[uint32(oid)] = rows
	return err == nil && r.done()
}

// answered takes the answer over once it is whole, and returns how many rows
// were changed since the one before. A relation of which rows were forgotten,
// because it was truncated or dropped, makes up for no other.
func (t *tally) answered() (rows int64) {
	_, t.known = t.counts[0]
	_, t.defers = t.counts[1]
	for relation, now := range t.counts {
		rows += max(0, now-t.relations[relation])
	}
	t.relations, t.counts, t.fresh = t.counts, nil, t.known
	return rows
}

// ran notes that a statement is forwarded: what was counted before is old.
func (t *tally) ran() { t.fresh, t.ending = false, notEnding }

// endTransaction forgets what was counted of one.
func (c *conversation) endTransaction() {
	t := &c.tally
	t.relations, t.changed, t.excess = nil, nil, nil
	t.fresh, t.block, t.failed, t.undo, t.ending = false, false, false, false, notEnding
	if o := t.last; o != nil {
		t.last = nil
		o.end(protocol.Outcome{Status: protocol.OK})
		c.settle(o)
	}
}

// add notes what a statement changed under its rule.
func (t *tally) add(l *limit) {
	if t.changed == nil {
		t.changed = make(map[string]*share)
	}
	if t.changed[l.Rule] == nil {
		t.changed[l.Rule] = &share{RowLimit: l.RowLimit}
	}
	t.changed[l.Rule].rows += l.rows
}

// owesTally reports whether an answer is still to come.
func (c *conversation) owesTally() bool {
	return slices.ContainsFunc(c.queue.debts[c.queue.first:], func(d debt) bool { return d.purpose == forTally })
}

// resumeCounted is resume after an answer to ourselves, unless rows are still
// being counted, which the client waits for anyway.
func (c *conversation) resumeCounted() {
	if !c.owesTally() {
		c.resume(true)
	}
}

// tallyAnswered goes on in a pipeline as soon as rows are counted. Between simple
// queries that is done when the server is ready.
func (c *conversation) tallyAnswered() {
	rows := c.tally.answered()
	if c.tally.ending == countingBefore || c.tally.ending == countingAfter {
		c.tally.settled(rows)
	}
	o := c.tally.op
	if o == nil {
		return
	}
	o.limit.rows = max(o.limit.rows, rows)
	if o.limit.portal {
		c.endTally()
	}
}

// tallyFailed is told of an error of the server's while rows were to be counted.
// It reports whether it is not the client's: that of a statement which did not
// run. In a pipeline the server skips to Sync after it.
func (c *conversation) tallyFailed(outcome protocol.Outcome) (ours bool) {
	c.tally.known, c.tally.fresh, c.tally.counts = false, false, nil
	switch o := c.tally.op; {
	case o != nil:
		o.end(outcome)
		return false
	case c.tally.ending == countingBefore || c.tally.ending == countingAfter:
		return false
	}
	if f := &c.front; f.op != nil && f.answer.Limit != nil && !c.owesReading() {
		f.failed = true
		c.deny(stateUndecided, c.limitRefusal(f.answer.Limit, uncounting), f.answer.Limit.Rule)
		c.write(protocol.ClientLeg, f.op.refusal, f.op)
	}
	return true
}

// uncounting says why nobody can tell what a statement would change.
const uncounting = "the rows that it changes cannot be counted, because the server does not count them"

// endTally ends a statement whose rows are counted, or that failed when what it
// left for the commit was done.
func (c *conversation) endTally() {
	o := c.tally.op
	c.tally.op = nil
	l := o.limit
	failed := o.Outcome.Status != ""
	if why := c.tally.over(l); why != "" && !failed {
		l.over = true
		o.refuse(stateRefused, c.limitRefusal(l.RowLimit, why), l.Rule)
	}
	if !failed && !l.over {
		c.tally.add(l)
	}
	switch {
	case l.ours && (failed || l.over):
		c.sendOwnQuery("ROLLBACK", debt{purpose: forEnd, op: o})
	case l.ours:
		c.sendOwnQuery("COMMIT", debt{purpose: forEnd, op: o})
	case l.over && l.portal:
		c.counting = nil
		c.refuseExecute(o)
	case l.over:
		c.refuseQuery(o)
	case l.portal && failed:
		c.settle(o)
	case l.portal:
		c.write(protocol.ClientLeg, l.tag, o)
		c.counting = nil
		c.keepLast(o)
	default:
		c.endLimited(o)
	}
}

// keepLast ends a statement of a pipeline, unless what it left for the pipeline's
// end may still refuse it.
func (c *conversation) keepLast(o *op) {
	before := c.tally.last
	c.tally.last = nil
	if !c.tally.block && c.tally.defers {
		c.tally.last = o
		o = before
	}
	if o != nil {
		o.end(protocol.Outcome{Status: protocol.OK})
		c.settle(o)
	}
}

// over says why a statement changed too much; "" if it did not.
func (t *tally) over(l *limit) string {
	before := int64(0)
	if share := t.changed[l.Rule]; share != nil {
		before = share.rows
	}
	switch {
	case !t.known:
		return uncounting
	case before+l.rows <= l.Rows:
		return ""
	case before == 0:
		return "it changed " + strconv.FormatInt(l.rows, 10) + " rows, which is more than " + strconv.FormatInt(l.Rows, 10) + ", and was undone"
	}
	return "it changed " + strconv.FormatInt(l.rows, 10) + " rows, after " + strconv.FormatInt(before, 10) +
		" in this transaction, which together is more than " + strconv.FormatInt(l.Rows, 10) + ", and was undone"
}
