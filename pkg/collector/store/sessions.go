package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// Filter selects sessions among those that Sees allows.
type Filter struct {
	Sees       view.Scope
	Limit      int    // at most this many; not positive: DefaultLimit
	Before     string // id of the last session of the page before
	Run        string
	Repository string
	Resource   string
	Protocol   string
	Agent      string    // the node agent
	Since      time.Time // started at or after
	Until      time.Time // started before
	Denied     bool      // at least one operation was denied
	Held       bool      // at least one operation was held
	Open       bool      // not ended
}

// DefaultLimit is how many entries a list has when nobody said; MaxLimit is
// the most that it ever has.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

const sessionColumns = `id, resource, protocol, destination, started, ended, reason, assurance,
	workload, operations, denied, held, masked, agent, epoch, repository, run, parent, parent_operation`

// lookedAt is how many of the newest sessions are looked at one by one.
const lookedAt = 5000

// Sessions returns the sessions that match, newest first.
func (s *Store) Sessions(ctx context.Context, f Filter) ([]view.Session, error) {
	var before terms
	if f.Before != "" {
		started, key, err := s.place(ctx, f.Sees, f.Before)
		if err != nil {
			return nil, err
		}
		before.add(true, "(started, key) < (?, ?)", started, key)
	}
	if !f.Sees.All() {
		// Whoever sees much finds a page among the newest, and reads nearly all by
		// an index of what they see.
		newest := terms{slices.Clip(before.text), slices.Clip(before.args)}
		newest.add(true, "started >= coalesce((SELECT started FROM sessions"+before.where()+" ORDER BY started DESC LIMIT 1 OFFSET ?), 0)",
			append(newest.args, lookedAt)...)
		found, err := s.sessions(ctx, f.terms(withoutIndex, withoutIndex), &newest, limit(f.Limit))
		if err != nil || len(found) == limit(f.Limit) {
			return found, err
		}
	}
	scope, broad := f.narrowing()
	if scope == byIndex && f.Agent+f.Protocol != "" {
		few, err := s.few(ctx, &f)
		if err != nil {
			return nil, err
		}
		if few {
			scope, broad = withoutIndex, byIndex
		}
	}
	return s.sessions(ctx, f.terms(scope, broad), &before, limit(f.Limit))
}

// few reports whether an agent or a protocol is that of few sessions.
func (s *Store) few(ctx context.Context, f *Filter) (bool, error) {
	var t terms
	t.add(f.Agent != "", "agent = ?", f.Agent)
	t.add(f.Protocol != "", "protocol = ?", f.Protocol)
	var n int
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM sessions"+t.where()+" LIMIT ?)", append(t.args, lookedAt)...).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("count sessions: %w", err)
	}
	return n < lookedAt, nil
}

// sessions returns the newest n sessions of which both are true.
func (s *Store) sessions(ctx context.Context, t, and *terms, n int) ([]view.Session, error) {
	for _, text := range and.text {
		t.add(true, text)
	}
	t.args = append(t.args, and.args...)
	const order = " ORDER BY started DESC, key DESC"
	query := "SELECT " + sessionColumns + " FROM sessions WHERE key IN (SELECT key FROM sessions" + t.where() + order + " LIMIT ?)" + order
	rows, err := s.read.QueryContext(ctx, query, append(t.args, n)...)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return collect(rows, scanSession)
}

// place returns where a session stands in the order of lists.
func (s *Store) place(ctx context.Context, sees view.Scope, id string) (started, key int64, err error) {
	var t terms
	t.add(true, "id = ?", id)
	t.scope(sees, withoutIndex)
	err = s.read.QueryRowContext(ctx, "SELECT started, key FROM sessions"+t.where()+" ORDER BY key LIMIT 1", t.args...).Scan(&started, &key)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, fmt.Errorf("session %w", ErrNotFound)
	}
	return started, key, err
}

// Session returns one session, if it may be seen. Ids are random; where two
// agents used the same one, the session that was seen first keeps it.
func (s *Store) Session(ctx context.Context, sees view.Scope, id string) (view.Session, error) {
	var t terms
	t.add(true, "id = ?", id)
	t.scope(sees, withoutIndex)
	row := s.read.QueryRowContext(ctx, "SELECT "+sessionColumns+" FROM sessions"+t.where()+" ORDER BY key LIMIT 1", t.args...)
	session, err := scanSession(row)
	if errors.Is(err, sql.ErrNoRows) {
		return view.Session{}, fmt.Errorf("session %w", ErrNotFound)
	}
	return session, err
}

// narrowing says what is looked up by an index: what may be seen, or an agent
// and a protocol, which may be those of nearly all sessions; else one of the
// other conditions is.
func (f *Filter) narrowing() (scope, broad string) {
	switch {
	case f.Resource != "" || f.Repository != "" || f.Run != "" || f.Denied || f.Held || f.Open:
		return withoutIndex, withoutIndex
	case f.Sees.All():
		return withoutIndex, byIndex
	}
	return byIndex, withoutIndex
}

func (f *Filter) terms(scope, broad string) *terms {
	t := &terms{}
	t.scope(f.Sees, scope)
	t.add(f.Resource != "", "resource = ?", f.Resource)
	t.add(f.Repository != "", "repository = ?", f.Repository)
	t.add(f.Run != "", "run = ?", f.Run)
	t.add(f.Protocol != "", broad+"protocol = ?", f.Protocol)
	t.add(f.Agent != "", broad+"agent = ?", f.Agent)
	t.add(!f.Since.IsZero(), "started >= ?", stamp(f.Since))
	t.add(!f.Until.IsZero(), "started < ?", stamp(f.Until))
	t.add(f.Denied, "denied > 0")
	t.add(f.Held, "held > 0")
	t.add(f.Open, "ended IS NULL")
	return t
}

func limit(n int) int {
	if n <= 0 {
		return DefaultLimit
	}
	return min(n, MaxLimit)
}

// scanner is a row, alone or of several.
type scanner interface{ Scan(into ...any) error }

// collect reads all rows and closes them. It never returns a nil slice, so
// that JSON shows an empty list.
func collect[T any](rows *sql.Rows, scan func(scanner) (T, error)) (out []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = []T{}
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, rows.Err()
}

func scanSession(row scanner) (view.Session, error) {
	var v view.Session
	var started int64
	var ended sql.NullInt64
	var workload []byte
	err := row.Scan(&v.ID, &v.Resource, &v.Protocol, &v.Destination, &started, &ended, &v.Reason, &v.Assurance,
		&workload, &v.Operations, &v.Denied, &v.Held, &v.Masked, &v.ReportedBy, &v.Epoch, &v.Repository, &v.Run, &v.Parent, &v.ParentOperation)
	if err != nil {
		return v, err
	}
	v.Started = moment(started)
	if ended.Valid {
		at := moment(ended.Int64)
		v.Ended = &at
	}
	return v, facts(&v, workload)
}

// facts splits a workload's JSON into the session's five groups; an absent
// group is an empty object.
func facts(v *view.Session, workload []byte) error {
	groups := map[string]json.RawMessage{}
	if err := json.Unmarshal(workload, &groups); err != nil {
		return fmt.Errorf("decode workload: %w", err)
	}
	group := func(name string) json.RawMessage {
		if raw := groups[name]; len(raw) > 0 && string(raw) != "null" {
			return raw
		}
		return json.RawMessage("{}")
	}
	v.Kernel, v.Orch, v.Verified = group("kernel"), group("orch"), group("verified")
	v.Claimed, v.Agent = group("claimed"), group("agent")
	return nil
}
