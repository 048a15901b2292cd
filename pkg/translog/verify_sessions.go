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

// sessionCount is what was read of a session, in one batch or in all.
type sessionCount struct {
	id      string
	records int
	opened  bool
	closed  *record.Closed
	last    *checkedBatch
	no      uint64 // of the last record
}

// count counts a record that is what its agent signed, and returns the count of
// its session; nil for a record of none.
func (c *recordChecker) count(session []byte, no uint64) *sessionCount {
	if len(session) == 0 {
		return nil
	}
	s := c.sessions[string(session)]
	if s == nil {
		s = &sessionCount{id: string(session), last: c.b}
		c.sessions[s.id] = s
		c.b.sessions = append(c.b.sessions, s)
	}
	s.records++
	s.no = no
	return s
}

// add adds what a batch has of the session.
func (s *sessionCount) add(in *sessionCount) {
	s.records += in.records
	s.last, s.no = in.last, max(s.no, in.no)
	s.opened = s.opened || in.opened
	if in.closed != nil {
		s.closed = in.closed
	}
}

// checkSessions compares each session that was read from its opening to its
// closing with the count that its closing states. Every record belongs to one
// session, so this finds what was left out of a bundle of one session, or passed off
// as another session's; without a closing nothing does.
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
		for _, s := range b.sessions {
			key := sessionKey{agent, b.Epoch, s.id}
			if counts[key] == nil {
				counts[key] = &sessionCount{id: s.id}
				order = append(order, key)
			}
			counts[key].add(s)
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
	case c.closed == nil && v.report.Scope.Kind == OneSession:
		f.Detail = "its closing is not there, so that nothing shows whether all of its records are"
	default:
		return
	}
	v.find(f)
}
