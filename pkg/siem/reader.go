package siem

import (
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

// Batch is a batch of the log with its records.
type Batch struct {
	Cluster, Agent, Epoch string
	Index                 int64
	Entries               []record.Entry
}

// What a Reader remembers at most. Beyond it sessions are looked up again, and
// outcomes do not say what was asked for.
const (
	maxSessions = 1 << 14
	maxIntents  = 1 << 10 // of one session
)

// Reader turns batches, in the order of the log, into events. It remembers
// open sessions and what was asked in them. It is not safe for concurrent use.
type Reader struct {
	// Lookup finds a session whose opening was not read, nil when nobody knows
	// it. A nil Lookup knows none.
	Lookup func(agent, id string) (*session.Session, error)

	open map[place]*remembered
}

// place is where a session is looked for: two agents may use one id.
type place struct{ agent, session string }

type remembered struct {
	session *session.Session
	intents map[uint64]*record.Intent
}

// Events returns the events of a batch, one for each record. Its errors are
// those of Lookup; then the batch can be given again.
func (r *Reader) Events(b Batch) ([]Event, error) {
	events := make([]Event, 0, len(b.Entries))
	for i := range b.Entries {
		e, err := r.event(&b, &b.Entries[i])
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func (r *Reader) event(b *Batch, entry *record.Entry) (Event, error) {
	e := Event{Cluster: b.Cluster, Agent: b.Agent, Epoch: b.Epoch, No: entry.No, Index: b.Index, Destroyed: entry.BodyHash != nil}
	header, err := record.DecodeHeader(entry.Header)
	if err != nil {
		e.Invalid = true
		return e, nil
	}
	body, err := record.DecodeBody(entry.Body)
	if err != nil {
		e.Invalid = true
		return e, nil
	}
	e.Header, e.Body = header, body
	if header.Session == "" {
		return e, nil
	}
	at := place{b.Agent, header.Session}
	known, err := r.find(at, header.Opened)
	if err != nil {
		return e, err
	}
	e.Session = known.session
	switch {
	case header.Intent != nil:
		known.remember(header.Operation, header.Intent)
		e.Intent = header.Intent
	case header.Outcome != nil:
		e.Intent = known.intents[header.Operation]
		delete(known.intents, header.Operation)
	case header.Closed != nil:
		delete(r.open, at)
	default:
		e.Intent = known.intents[header.Operation]
	}
	return e, nil
}

// find returns what is known of a session, which opened says when this is its
// opening.
func (r *Reader) find(at place, opened *session.Session) (*remembered, error) {
	known := r.open[at]
	if known != nil && (known.session != nil || opened == nil) {
		return known, nil
	}
	if known == nil {
		known = &remembered{intents: map[uint64]*record.Intent{}}
	}
	known.session = opened
	if opened == nil && r.Lookup != nil {
		var err error
		if known.session, err = r.Lookup(at.agent, at.session); err != nil {
			return nil, err
		}
	}
	if r.open == nil {
		r.open = map[place]*remembered{}
	}
	for other := range r.open {
		if len(r.open) < maxSessions {
			break
		}
		delete(r.open, other)
	}
	r.open[at] = known
	return known, nil
}

func (k *remembered) remember(operation uint64, in *record.Intent) {
	for other := range k.intents {
		if len(k.intents) < maxIntents {
			break
		}
		delete(k.intents, other)
	}
	k.intents[operation] = in
}
