package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// ErrSettled reports a change to an approval that is no longer pending.
var ErrSettled = errors.New("the approval is no longer pending")

// ErrTooMany reports an agent with too many pending approvals.
var ErrTooMany = errors.New("too many pending approvals of this agent")

// ErrOtherRequest reports an id that already stands for another request.
var ErrOtherRequest = errors.New("another request has this id")

// pending is the state from which all others are reached, once.
const pending = "pending"

// expired is what a pending approval is past its deadline.
const expired = "expired"

// maxPending bounds the pending approvals of one agent: a hostile node must
// not bury the approvers.
const maxPending = 1000

// AddApproval keeps a verified request and gives it a number. The same id
// again gives the same number; added says whether it is new. Another agent's
// id, or another request under the same id, is an error.
func (s *Store) AddApproval(ctx context.Context, a view.Approval) (number uint64, added bool, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		number, added, err = addApproval(tx, a)
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("add approval: %w", err)
	}
	return number, added, nil
}

func addApproval(tx *sql.Tx, a view.Approval) (number uint64, added bool, err error) {
	var agent string
	var request []byte
	err = tx.QueryRow("SELECT number, agent, request FROM approvals WHERE id = ?", a.ID).Scan(&number, &agent, &request)
	if err == nil {
		if agent != a.Agent || string(request) != string(a.Request) {
			return 0, false, ErrOtherRequest
		}
		return number, false, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return 0, false, err
	}
	var waiting int
	if err := tx.QueryRow("SELECT count(*) FROM approvals WHERE state = ? AND agent = ? AND not_after > ?",
		pending, a.Agent, stamp(time.Now())).Scan(&waiting); err != nil {
		return 0, false, err
	}
	if waiting >= maxPending {
		return 0, false, ErrTooMany
	}
	err = tx.QueryRow(`INSERT INTO approvals
		(id, agent, session, operation, resource, rule, reason, text, state, requested, not_after, request, repository)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number`,
		a.ID, a.Agent, a.Session, int64(a.Operation), a.Resource, a.Rule, a.Reason, a.Text, pending,
		stamp(a.Requested), stamp(a.NotAfter), a.Request, a.Repository).Scan(&number)
	return number, true, err
}

const approvalColumns = `number, id, state, agent, session, operation, resource, rule, reason, text, requested, not_after, request, repository`

// ApprovalFilter selects approvals among those that Sees allows.
type ApprovalFilter struct {
	Sees    view.Scope
	State   string // empty: all
	Session string
	Before  uint64 // number of the last approval of the page before
	Limit   int    // not positive: DefaultLimit
}

// Approvals returns approvals, newest first. A pending one past its deadline
// is shown as expired: its agent has let go of it.
func (s *Store) Approvals(ctx context.Context, f ApprovalFilter) ([]view.Approval, error) {
	var t terms
	now := stamp(time.Now())
	switch f.State {
	case "":
	case pending:
		t.add(true, "state = 'pending' AND not_after > ?", now)
	case expired:
		t.add(true, "(state = 'expired' OR state = 'pending' AND not_after <= ?)", now)
	default:
		t.add(true, "state = ?", f.State)
	}
	t.scope(f.Sees, withoutIndex)
	t.add(f.Session != "", "session = ?", f.Session)
	t.add(f.Before > 0, "number < ?", int64(f.Before))
	rows, err := s.read.QueryContext(ctx, "SELECT "+approvalColumns+" FROM approvals"+t.where()+" ORDER BY number DESC LIMIT ?",
		append(t.args, limit(f.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("list approvals: %w", err)
	}
	return collect(rows, scanApproval)
}

// Approval returns one approval with its votes, if it may be seen.
func (s *Store) Approval(ctx context.Context, sees view.Scope, number uint64) (view.Approval, error) {
	a, err := s.approval(ctx, "number = ?", int64(number))
	if err == nil && !sees.Sees(a.Resource, a.Repository) {
		return view.Approval{}, fmt.Errorf("approval %w", ErrNotFound)
	}
	return a, err
}

// ApprovalByID returns one approval by the agent's id.
func (s *Store) ApprovalByID(ctx context.Context, id string) (view.Approval, error) {
	return s.approval(ctx, "id = ?", id)
}

func (s *Store) approval(ctx context.Context, where string, arg any) (view.Approval, error) {
	return loadApproval(ctx, s.read, where, arg)
}

// loadApproval reads one approval with its votes, oldest first.
func loadApproval(ctx context.Context, db querier, where string, arg any) (view.Approval, error) {
	a, err := scanApproval(db.QueryRowContext(ctx, "SELECT "+approvalColumns+" FROM approvals WHERE "+where, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return a, fmt.Errorf("approval %w", ErrNotFound)
	}
	if err != nil {
		return a, fmt.Errorf("read approval: %w", err)
	}
	a.Votes, err = votes(ctx, db, a.Number)
	return a, err
}

// OpenApprovals returns the pending approvals of one agent with their votes,
// for when it asks where it stands.
func (s *Store) OpenApprovals(ctx context.Context, agent string) ([]view.Approval, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+approvalColumns+` FROM approvals
		WHERE agent = ? AND not_after > ? AND state IN ('pending', 'approved', 'denied') ORDER BY number`, agent, stamp(time.Now()))
	if err != nil {
		return nil, fmt.Errorf("list open approvals: %w", err)
	}
	open, err := collect(rows, scanApproval)
	if err != nil {
		return nil, err
	}
	for i := range open {
		if open[i].Votes, err = votes(ctx, s.read, open[i].Number); err != nil {
			return nil, err
		}
	}
	return open, nil
}

func scanApproval(row scanner) (a view.Approval, err error) {
	var requested, notAfter int64
	err = row.Scan(&a.Number, &a.ID, &a.State, &a.Agent, &a.Session, &a.Operation, &a.Resource, &a.Rule,
		&a.Reason, &a.Text, &requested, &notAfter, &a.Request, &a.Repository)
	a.Requested, a.NotAfter = moment(requested), moment(notAfter)
	a.Explain()
	if a.State == pending && !time.Now().Before(a.NotAfter) {
		a.State = expired
	}
	return a, err
}

func votes(ctx context.Context, db querier, number uint64) ([]view.Vote, error) {
	rows, err := db.QueryContext(ctx,
		"SELECT approver, decision, reason, at, signed FROM votes WHERE number = ? ORDER BY id", int64(number))
	if err != nil {
		return nil, fmt.Errorf("list votes: %w", err)
	}
	return collect(rows, func(row scanner) (v view.Vote, err error) {
		var at int64
		err = row.Scan(&v.Approver, &v.Decision, &v.Reason, &at, &v.Signed)
		v.At = moment(at)
		return v, err
	})
}

// AddVote keeps a vote and moves the approval on, in one transaction. judge
// sees the approval with the votes before this one and returns the state that
// follows, pending while votes are missing, or why the vote does not count;
// then nothing changes. An approval that has ended gives ErrSettled.
func (s *Store) AddVote(ctx context.Context, number uint64, v view.Vote, judge func(view.Approval) (state string, err error)) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		a, err := loadApproval(ctx, tx, "number = ?", int64(number))
		if err != nil {
			return err
		}
		if a.State != pending {
			return ErrSettled
		}
		state, err := judge(a)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO votes (number, approver, decision, reason, at, signed) VALUES (?, ?, ?, ?, ?, ?)",
			int64(number), v.Approver, v.Decision, v.Reason, stamp(v.At), v.Signed); err != nil {
			return err
		}
		_, err = tx.Exec("UPDATE approvals SET state = ? WHERE number = ? AND state = ?", state, int64(number), pending)
		return err
	})
	if err != nil {
		return fmt.Errorf("add vote: %w", err)
	}
	return nil
}

// settle follows what an agent recorded about its own approval: the agent
// decides, the table follows.
func settle(tx *sql.Tx, agent, id, state string) error {
	_, err := tx.Exec("UPDATE approvals SET state = ? WHERE id = ? AND agent = ?", state, id, agent)
	if err != nil {
		return fmt.Errorf("settle approval: %w", err)
	}
	return nil
}
