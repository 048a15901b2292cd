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
func (c *conversation) clearance(analysis *sqltext.Analysis, portal *portal, text []byte) clearance {
	f := &c.front
	if c.conn.Observe {
		return cleared
	}
	if f.failed {
		c.settle(f.op)
		return over
	}
	if f.err != nil || f.answer.Effect != protocol.Allow {
		c.deny(refusalState(f.err), refusal(f.answer, f.err), "")
		return refused
	}
	if !f.op.Operation.Parsed && c.guarded() && f.answer.Approval == 0 {
		c.deny(stateRefused, "sluice: this statement could not be understood, and rules or masks apply here", "")
		return refused
	}
	if !c.catalog.needed() || (portal == nil && c.status == 'E') {
		return cleared // a transaction that has failed runs nothing but its end
	}
	return c.maskClearance(analysis, portal, text)
}

// maskClearance decides whether masks let a statement run: one that may touch a
// masked relation must be proven to give nothing but columns of known origin.
func (c *conversation) maskClearance(analysis *sqltext.Analysis, portal *portal, text []byte) clearance {
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
	touch := c.catalog.touch(analysis)
	if touch.refusal != "" {
		c.deny(stateRefused, touch.refusal, touch.mask)
		return refused
	}
	f.op.touched = touch.touched
	if !touch.touched {
		return cleared
	}
	if !f.probed {
		c.probe(portal, text)
		return wait
	}
	found := &f.layout
	if portal != nil {
		found = &portal.layout
	}
	if c.owesProbe() {
		c.pause()
		return wait
	}
	if refusal := found.refusal(true); refusal != "" {
		c.deny(stateRefused, refusal, found.mask)
		return refused
	}
	return cleared
}

// probe asks the server for the columns of a statement that has not run.
func (c *conversation) probe(portal *portal, text []byte) {
	c.front.probed = true
	if portal == nil {
		c.prepared.putStatement("", nil) // the server's becomes ours
		c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
			dst, mark := open(dst, msgParse)
			dst = append(append(append(dst, 0), text...), 0, 0, 0)
			dst = shut(dst, mark)
			dst, mark = open(dst, msgDescribe)
			dst = shut(append(dst, 'S', 0), mark)
			dst, mark = open(dst, msgSync)
			return shut(dst, mark)
		})
		c.queue.push(debt{kind: oweParse, own: true, purpose: forProbe})
		c.queue.push(debt{kind: oweDescribe, own: true, purpose: forProbe})
		c.queue.push(debt{kind: oweSync, own: true, purpose: forProbe})
		c.pause()
		return
	}
	if portal.layout.known {
		return
	}
	if !portal.described {
		c.describePortal(portal, c.portalName(portal))
	}
	c.flush()
	c.pause()
}

// owesProbe reports whether columns that the front depends on are still to
// come.
func (c *conversation) owesProbe() bool {
	return slices.ContainsFunc(c.queue.debts[c.queue.first:], func(d debt) bool {
		return d.own && d.purpose == forProbe || d.kind == oweDescribe && d.portal != nil
	})
}

func (c *conversation) portalName(portal *portal) []byte {
	for name, found := range c.prepared.portals {
		if found == portal {
			return []byte(name)
		}
	}
	return nil
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
