package translog

import (
	"fmt"

	"github.com/sluicegate/sluice/pkg/record"
)

// sessionKey names a session of one agent. A session lives within one epoch.
type sessionKey struct {
	agent string
	epoch record.Epoch
	id    string
}

// sessionCount is what was read of a session.
type sessionCount struct {
	records int
	opened  bool
	closed  *record.Closed
	last    *checkedBatch
	no      uint64 // of the last record
}

// checkSessions compares each session that was read from its opening to its
// closing with the count that its closing states. Every record belongs to one
// session, so this finds what was left out of a bundle of one session.
func (v *verification) checkSessions() {
	counts := map[sessionKey]*sessionCount{}
	var order []sessionKey
	damaged := map[string]bool{} // agents with a batch that is not whole
	for _, b := range v.batches {
		agent := AgentKeyName(b.Cluster, b.Agent)
		if !b.whole {
			damaged[agent] = true
		}
		if b.twin {
			continue
		}
		for _, e := range b.entries {
			if e.session == "" {
				continue
			}
			key := sessionKey{agent, b.Epoch, e.session}
			c := counts[key]
			if c == nil {
				c = &sessionCount{}
				counts[key] = c
				order = append(order, key)
			}
			c.records++
			c.last, c.no = b, max(c.no, e.no)
			c.opened = c.opened || e.opened
			if e.closed != nil {
				c.closed = e.closed
			}
		}
	}
	v.report.Sessions = len(order)
	for _, key := range order {
		c := counts[key]
		if damaged[key.agent] {
			continue // what is missing was reported, record by record
		}
		v.checkSession(key, c)
	}
	if v.report.Scope.Kind == OneSession && len(order) == 0 {
		v.find(Finding{Code: SessionIncomplete, Index: -1, Record: -1, Session: v.report.Scope.Session, Detail: "no record of the session is in the bundle"})
	}
}

func (v *verification) checkSession(key sessionKey, c *sessionCount) {
	f := c.last.finding(SessionIncomplete, "")
	f.Record, f.Session = int64(c.no), key.id
	switch {
	case v.report.Scope.Kind == OneSession && key.id != v.report.Scope.Session:
		f.Code, f.Detail = RecordAdded, "the record is of another session than the bundle's"
	case !c.opened && v.report.Scope.Kind == Range:
		return // it began before the range
	case !c.opened:
		f.Detail = "the record of its opening is missing"
	case c.closed != nil && c.closed.Records != uint64(c.records):
		f.Detail = fmt.Sprintf("its closing counts %d records and %d are there", c.closed.Records, c.records)
	default:
		return
	}
	v.find(f)
}
