package postgres

import (
	"bytes"
	"slices"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// guarded reports whether a rule or a mask depends on understanding what a
// statement says.
func (c *conversation) guarded() bool { return c.catalog.needed() || c.conn.SQLRules }

// clearance is how far the decision of the message at the front has come.
type clearance int

const (
	wait    clearance = iota // it will be fed again
	refused                  // the operation holds what the client is told
	over                     // the client was told already
	cleared                  // forward it
)

// clearance takes the next step of the decision, after the guard has answered.
func (c *conversation) clearance(analysis *sqltext.Analysis, portal *portal) clearance {
	f := &c.front
	if c.conn.Observe {
		return cleared
	}
	if f.failed {
		c.settle(f.op)
		return over
	}
	if f.tallied {
		return c.limited(analysis, portal)
	}
	if found := c.ruled(analysis, portal); found != cleared {
		return found
	}
	if found := c.commitClearance(analysis, portal); found != cleared {
		return found
	}
	return c.limitClearance(analysis, portal)
}

// ruled is the part of the clearance that is known before anything runs.
func (c *conversation) ruled(analysis *sqltext.Analysis, portal *portal) clearance {
	f := &c.front
	if f.err != nil || f.answer.Effect != protocol.Allow {
		c.deny(refusalState(f.err), refusal(f.answer, f.err), "")
		return refused
	}
	if c.confirm(portal) {
		return wait
	}
	if reason := c.elsewhere(analysis, portal); reason != "" {
		c.deny(stateUndecided, reason, "")
		return refused
	}
	if !f.op.Operation.Parsed && c.guarded() && f.answer.Approval == 0 {
		c.deny(stateRefused, "sluice: this statement could not be understood, and rules or masks apply here", "")
		return refused
	}
	if !c.catalog.needed() || (portal == nil && c.status == 'E') {
		return cleared // a transaction that has failed runs nothing but its end
	}
	return c.maskClearance(analysis, portal)
}

// maskClearance decides whether masks let a statement run. What it answers is
// masked when it comes; refused is what could carry values elsewhere.
func (c *conversation) maskClearance(analysis *sqltext.Analysis, portal *portal) clearance {
	if steers(analysis) {
		return cleared
	}
	f := &c.front
	if (c.catalog.stale() || f.reads == 0 && !c.catalog.knows(analysis)) && c.refresh(portal) {
		return wait
	}
	if c.catalog.stale() {
		c.deny(stateUndecided, "sluice: what is masked could not be read, so this statement is refused", "")
		return refused
	}
	if c.outlived(analysis, portal) {
		c.deny(stateRefused, "sluice: a relation with masked columns was changed since this cursor was declared: declare it again", "")
		return refused
	}
	touch := c.touch(analysis)
	if touch.refusal != "" {
		c.deny(stateRefused, touch.refusal, touch.mask)
		return refused
	}
	f.op.touched, f.op.analysis, f.op.vouched = touch.touched, analysis, c.catalog.vouches()
	f.op.ran = only(c.behind(analysis))
	s := only(analysis)
	if !touch.touched || s == nil || s.CopyTo == nil {
		return cleared
	}
	return c.copyClearance(s.CopyTo, portal)
}

// copyClearance asks the server for the columns that COPY sends.
func (c *conversation) copyClearance(sends *sqltext.CopyTo, portal *portal) clearance {
	f := &c.front
	if !f.probed {
		c.probe(sends.Query, portal == nil)
		return wait
	}
	if c.owesProbe() {
		c.pause()
		return wait
	}
	if !f.layout.known || len(f.layout.fields) == 0 {
		c.deny(stateRefused, "sluice: the columns that this COPY sends are not known, so it is refused", "")
		return refused
	}
	c.catalog.judge(&f.layout, true, f.op.lineage())
	f.op.copies.set(sends, &f.layout)
	return cleared
}

// probe asks the server for the columns of a query that does not run.
func (c *conversation) probe(query string, sync bool) {
	c.front.probed = true
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst = closeOwn(dst)
		dst, mark := open(dst, msgParse)
		dst = appendString(appendString(dst, ownName), query)
		dst = shut(append(dst, 0, 0), mark)
		dst, mark = open(dst, msgDescribe)
		dst = shut(appendString(append(dst, 'S'), ownName), mark)
		return appendEnd(closeOwn(dst), sync)
	})
	for _, kind := range [...]debtKind{oweClose, oweClose, oweParse, oweDescribe, oweClose, oweClose} {
		c.queue.push(debt{kind: kind, own: true, purpose: forProbe})
	}
	if sync {
		c.queue.push(debt{kind: oweSync, own: true, purpose: forProbe})
	}
	c.pause()
}

// owesProbe reports whether columns that the front depends on are still to
// come.
func (c *conversation) owesProbe() bool {
	return slices.ContainsFunc(c.queue.debts[c.queue.first:], func(d debt) bool {
		return d.own && d.purpose == forProbe && d.portal == nil
	})
}

// describeFirst makes the server describe a portal's rows before it sends them,
// unless the client did. Nothing waits for the answer: it comes before the
// rows.
func (c *conversation) describeFirst(portal *portal, name []byte) {
	if c.masks() && portal != nil && !portal.described {
		c.describePortal(portal, bytes.Clone(name))
	}
}

func (c *conversation) describePortal(portal *portal, name []byte) {
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst, mark := open(dst, msgDescribe)
		return shut(append(append(append(dst, 'P'), name...), 0), mark)
	})
	portal.refs++
	portal.described = true
	c.queue.push(debt{kind: oweDescribe, own: true, purpose: forProbe, portal: portal})
}
