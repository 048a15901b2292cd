// Package simulate asks a policy about operations that were recorded: what it
// would decide otherwise than was decided, by rule and job.
//
// An operation is made again from its record. What masks would hide is not
// simulated, and a host's command is known by its programs, without their
// arguments. Of a request over HTTP the query and the body, and with them a
// command in a pod, are what was recorded: values that were sealed are not
// known, and what was destroyed is empty. The package reads no store and no network: its callers hand in the
// records of one session after the other.
package simulate

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

// Past is one recorded operation, as a policy can be asked about it again.
type Past struct {
	Session   *session.Session
	Operation *operation.Operation
	Intent    *record.Intent
	Changed   int64 // rows
}

// Each calls visit for each operation of one session, whose records are all
// here.
func (r Reader) Each(records []view.Record, visit func(Past)) error {
	folded, err := view.Fold(records)
	if err != nil {
		return err
	}
	texts := map[uint64]*view.Operation{}
	for _, op := range folded {
		texts[op.ID] = op
	}
	var s *session.Session
	for i := range records {
		header, _, err := view.Decode(&records[i])
		switch {
		case err != nil:
			return err
		case header.Opened != nil:
			s = header.Opened
		case header.Intent != nil && s == nil:
			return errors.New("the session has no opening")
		case header.Intent != nil:
			was := texts[header.Operation]
			visit(Past{s, r.operation(s.Protocol, &header, was), header.Intent, changed(was.Tag)})
		}
	}
	return nil
}

// changed is how many rows a command of PostgreSQL's changed, by its tag. That of
// COPY has the same form in both directions, and counts for none.
func changed(tag string) int64 {
	verb, _, _ := strings.Cut(tag, " ")
	if !slices.Contains([]string{"INSERT", "UPDATE", "DELETE", "MERGE"}, verb) {
		return 0
	}
	rows, _ := strconv.ParseInt(tag[strings.LastIndexByte(tag, ' ')+1:], 10, 64) // the server's own words
	return rows
}

// Change is one way in which operations are decided otherwise.
type Change struct {
	Resource string `json:"resource"`
	Was      string `json:"was"`
	Effect   string `json:"effect"`
	Rule     string `json:"rule,omitempty"`
	Parsed   bool   `json:"parsed"`
	Unread   string `json:"unread,omitempty"` // why nobody read it, of what no policy can be asked about
	Job      string `json:"job"`
}

// By says what a policy decides otherwise than was decided, and whether it is
// otherwise. A hold that was approved was a hold. Of what nobody read a policy
// says nothing.
func By(p *policy.Policy, was Past) (Change, bool) {
	if was.Operation.Kind == operation.Unread {
		return Change{}, false
	}
	effect := was.Intent.Effect
	if was.Intent.Approval > 0 {
		effect = policy.Hold.String()
	}
	ruling := p.Evaluate(was.Session, was.Operation).Changed(was.Changed)
	return Change{
		Resource: was.Session.Resource, Was: effect, Effect: ruling.Effect.String(), Rule: ruling.Rule, Parsed: was.Operation.Parsed, Job: Job(was),
	}, ruling.Effect.String() != effect
}

// Job names who asked: the run, else the container.
func Job(was Past) string {
	w := &was.Session.Workload
	return cmp.Or(w.Run().ID, w.Orch.FullName(), w.Kernel.Container, "unknown")
}

// Counted is a change and how often it came, with one example.
type Counted struct {
	Change
	Count     int    `json:"count"`
	Session   string `json:"session"` // the newest
	Operation uint64 `json:"operation"`
}

// Tally counts changes. The zero value is empty.
type Tally struct {
	Operations int // asked about
	Unread     int // sessions, or the rests of such, that nobody read
	changes    map[Change]*Counted
}

// Add counts one operation, and its change where it is one.
func (t *Tally) Add(was Past, found Change, counts bool) {
	if was.Operation.Kind == operation.Unread {
		t.Unread++
	} else {
		t.Operations++
	}
	if !counts {
		return
	}
	if t.changes == nil {
		t.changes = map[Change]*Counted{}
	}
	if t.changes[found] == nil {
		t.changes[found] = &Counted{Change: found, Session: was.Session.ID, Operation: was.Operation.ID}
	}
	t.changes[found].Count++
}

// Rows returns the changes, the most frequent first.
func (t *Tally) Rows() []*Counted {
	return slices.SortedFunc(maps.Values(t.changes), func(a, b *Counted) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Job, b.Job), cmp.Compare(a.Rule, b.Rule))
	})
}
