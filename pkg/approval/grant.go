package approval

import (
	"maps"
	"slices"
	"time"
)

// Bounds of what is remembered. A grant that finds no room is not remembered,
// and people are asked again.
const (
	maxGrants = 10_000
	maxGrant  = 12 * time.Hour
)

// Grant is a remembered yes: an approval that reaches further than once.
type Grant struct {
	Number   uint64
	Deciders []string // as the roster names them
	Votes    [][]byte // theirs, as they were signed
	Groups   []string // one of which each decider was in
	Until    time.Time
}

// Remember keeps a settlement's yes for whatever the caller asks about under
// the same key, if its votes reach further than once. A restart forgets it.
func (d *Desk) Remember(key string, request Request, s Settlement, now time.Time) {
	if s.State != Approved || s.Scope != request.Scope || s.Scope == Once {
		return
	}
	until := s.Until
	if latest := now.Add(maxGrant); until.After(latest) {
		until = latest
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.grants, func(_ string, g Grant) bool { return !now.Before(g.Until) })
	if len(d.grants) < maxGrants && now.Before(until) {
		d.grants[key] = Grant{Number: s.Number, Deciders: slices.Clone(s.Deciders), Votes: s.Votes, Groups: request.Required.Groups, Until: until}
	}
}

// Recall returns the grant under a key that still counts: one whose deciders
// have all stayed in the roster with the keys that they signed with, and in a group
// that could say yes.
func (d *Desk) Recall(key string, now time.Time) (Grant, bool) {
	d.mu.Lock()
	grant, found := d.grants[key]
	d.mu.Unlock()
	roster := d.cfg.Roster()
	if !found || !now.Before(grant.Until) || roster == nil || !now.Before(roster.NotAfter) {
		return Grant{}, false
	}
	for _, signed := range grant.Votes {
		if _, person, _, err := openVote(signed, roster); err != nil || !person.inAny(grant.Groups) {
			return Grant{}, false
		}
	}
	return grant, len(grant.Votes) > 0
}
