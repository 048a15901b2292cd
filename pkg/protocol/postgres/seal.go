package postgres

import (
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// record sets what is kept of a statement: its text and parameters as they
// are, or sealed where they may hold what a mask hides or a secret.
func (c *conversation) record(o *op, text []byte, analysis *sqltext.Analysis, portal *portal) {
	o.Operation.SealedResponse = secret(text, analysis)
	switch {
	case analysis == nil && (o.Operation.SealedResponse || c.masksApply()):
		o.text = c.seal(o.text, text)
	case o.Operation.SealedResponse || c.mayTouch(analysis):
		o.text = sqltext.Seal(o.text, text, c.readAs(portal), c.seal)
	default:
		c.recordClean(o, text, analysis, portal)
		return
	}
	o.Operation.Text = o.text
	o.Operation.SealedRequest = true
	for i := range o.Operation.Params {
		o.Operation.Params[i].Sealed = true
	}
}

// recordClean keeps a statement that concerns no mask of a column: its text and
// parameters as they are, but for the literals, comments and parameters in which
// a detector finds something. COPY data comes in pieces of any size, in which
// nothing is looked for: where there are detectors it is sealed.
func (c *conversation) recordClean(o *op, text []byte, analysis *sqltext.Analysis, portal *portal) {
	mark := len(o.text)
	o.text = append(o.text, text...)
	if c.detected(text) {
		o.text = sqltext.SealSome(o.text[:mark], text, c.readAs(portal), c.detected, c.seal)
		if c.detected(o.text[mark:]) { // it stands in a name
			o.text = c.seal(o.text[:mark], text)
		}
	}
	o.Operation.Text = o.text
	if len(c.conn.Masks.Detect) == 0 {
		return
	}
	o.Operation.SealedRequest = analysis == nil || slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool { return s.Class == operation.Copy && s.CopyTo == nil })
	for i := range o.Operation.Params {
		o.Operation.Params[i].Sealed = c.detected(o.Operation.Params[i].Text.Reveal())
	}
}

// detected reports whether a detector of the resource's finds something.
func (c *conversation) detected(value []byte) bool {
	_, _, by := c.conn.Masks.Find(value)
	return by != nil
}

// recordCall is record for a call by function OID, which may do anything.
func (c *conversation) recordCall(o *op, body []byte) {
	if o.Operation.SealedRequest = c.masksApply(); o.Operation.SealedRequest {
		o.text = c.seal(o.text, body)
	} else {
		o.text = append(o.text, body...)
	}
	o.Operation.Text = o.text
}

// secret reports whether a statement sets or takes a password or the like.
// What it answers may then repeat it.
func secret(text []byte, analysis *sqltext.Analysis) bool {
	if analysis == nil {
		return sqltext.NamesSecret(text)
	}
	return slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool { return s.Secret })
}

// masksApply reports whether the resource has masks, in whatever mode.
func (c *conversation) masksApply() bool { return !c.conn.Masks.Empty() }

// mayTouch reports whether a statement may concern a masked relation. A name
// that the catalog does not know may: the catalog is asked about it only after
// the statement was recorded. Who only observes knows no catalog.
func (c *conversation) mayTouch(analysis *sqltext.Analysis) bool {
	if !c.conn.Masks.Placed() {
		return false
	}
	return c.conn.Observe || c.catalog.stale() || !c.catalog.knows(analysis) || c.touch(analysis).touched
}

// readAs is how the server reads the text of a portal, or of a simple query.
// Only a text that was understood is asked about, and any that was understood
// before is UTF-8.
func (c *conversation) readAs(portal *portal) sqltext.Options {
	if portal != nil && portal.stmt != nil {
		return sqltext.Options{StandardConformingStrings: portal.stmt.conforming, UTF8: true}
	}
	return sqltext.Options{StandardConformingStrings: c.settings.conforming, UTF8: c.settings.utf8}
}

// seal appends what stands for a value that must not be kept.
func (c *conversation) seal(dst, value []byte) []byte {
	if c.conn.Seal != nil {
		return c.conn.Seal(dst, value)
	}
	dst = strconv.AppendInt(append(dst, "[sealed "...), int64(len(value)), 10)
	return append(dst, " bytes]"...)
}
