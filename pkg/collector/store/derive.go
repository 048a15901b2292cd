package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// delta is what one batch says of one session.
type delta struct {
	id                               string
	opened                           *session.Session
	closed                           *record.Closed
	first, newest                    time.Time
	operations, denied, held, masked uint64
}

// deltas sums up a batch, one delta a session, in the order of their first
// records.
type deltas struct {
	order     []*delta
	byID      map[string]*delta
	approvals []*record.Header // each step of an approval
	about     *record.Agent    // what the agent says of itself, if it does
	policy    string           // by which it worked last, empty: not said
	since     time.Time        // and from when on, in this batch
}

func (d *deltas) of(session []byte, at time.Time) *delta {
	one := d.byID[string(session)]
	if one == nil {
		if d.byID == nil {
			d.byID = map[string]*delta{}
		}
		one = &delta{id: string(session), first: at}
		d.byID[one.id] = one
		d.order = append(d.order, one)
	}
	one.newest = at
	return one
}

// brief adds a record of an operation.
func (d *deltas) brief(b *record.Brief) {
	if b.Type == record.OperationIntent && len(b.Policy) > 0 && string(b.Policy) != d.policy {
		d.policy, d.since = string(b.Policy), b.Time
	}
	if len(b.Session) == 0 {
		return
	}
	one := d.of(b.Session, b.Time)
	one.masked += uint64(max(0, b.Masked))
	if b.Type == record.OperationIntent {
		one.operations++
	}
	if b.Denied {
		one.denied++
	}
}

func (d *deltas) add(h *record.Header) {
	d.regard(h)
	if h.Session == "" {
		return
	}
	one := d.of([]byte(h.Session), h.Time)
	if h.Denied() {
		one.denied++
	}
	switch {
	case h.Opened != nil:
		one.opened = h.Opened
	case h.Closed != nil:
		one.closed = h.Closed
	case h.Intent != nil:
		one.operations++
	case h.Outcome != nil:
		one.masked += uint64(max(0, h.Outcome.Masked))
	case h.Approval != nil:
		d.approvals = append(d.approvals, h)
		if h.Type == record.ApprovalRequested {
			one.held++
		}
	}
}

// regard notes what a record says of the agent and its policy.
func (d *deltas) regard(h *record.Header) {
	policy := ""
	switch {
	case h.Agent != nil:
		d.about, policy = h.Agent, h.Agent.Policy
	case h.Intent != nil:
		policy = h.Intent.Policy
	}
	if policy != "" && policy != d.policy {
		d.policy, d.since = policy, h.Time
	}
}

// describe keeps what a batch says of its agent.
func (d *deltas) describe(tx *sql.Tx, agent, epoch string) error {
	if d.about != nil {
		_, err := tx.Exec("UPDATE chains SET version = ?, host = ? WHERE agent = ? AND epoch = ?", d.about.Version, d.about.Host, agent, epoch)
		if err != nil {
			return fmt.Errorf("describe agent: %w", err)
		}
	}
	if d.policy == "" {
		return nil
	}
	// An agent that starts again by the policy of its last epoch has had it since.
	_, err := tx.Exec(`UPDATE chains AS c SET policy = ?1, policy_since = coalesce((SELECT policy_since FROM chains AS last
			WHERE last.agent = c.agent AND last.epoch = c.prev AND last.policy = ?1 AND c.policy = ''), ?2)
		WHERE agent = ?3 AND epoch = ?4 AND policy <> ?1`, d.policy, stamp(d.since), agent, epoch)
	if err != nil {
		return fmt.Errorf("describe agent: %w", err)
	}
	return nil
}

// apply writes a delta and returns the key of its session.
func (d *delta) apply(tx *sql.Tx, agent, epoch string) (int64, error) {
	key, err := d.count(tx, agent, epoch)
	if err != nil {
		return 0, fmt.Errorf("count session: %w", err)
	}
	if d.opened != nil {
		if err := d.open(tx, key); err != nil {
			return 0, fmt.Errorf("open session: %w", err)
		}
	}
	if d.closed == nil {
		return key, nil
	}
	c := d.closed
	_, err = tx.Exec(`UPDATE sessions SET ended = ?, reason = ?, operations = ?, denied = ?, held = ?, masked = ? WHERE key = ?`,
		stamp(d.newest), c.Reason, int64(c.Operations), int64(c.Denied), int64(c.Held), int64(c.Masked), key)
	if err != nil {
		return 0, fmt.Errorf("close session: %w", err)
	}
	return key, nil
}

func (d *delta) count(tx *sql.Tx, agent, epoch string) (key int64, err error) {
	err = tx.QueryRow(`
		INSERT INTO sessions (agent, epoch, id, started, newest, operations, denied, held, masked)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id, agent) DO UPDATE SET
			newest     = max(newest, excluded.newest),
			operations = operations + excluded.operations,
			denied     = denied + excluded.denied,
			held       = held + excluded.held,
			masked     = masked + excluded.masked
		RETURNING key`,
		agent, epoch, d.id, stamp(d.first), stamp(d.newest),
		int64(d.operations), int64(d.denied), int64(d.held), int64(d.masked)).Scan(&key)
	return key, err
}

func (d *delta) open(tx *sql.Tx, key int64) error {
	workload, err := json.Marshal(d.opened.Workload)
	if err != nil {
		return err
	}
	run := runOf(&d.opened.Workload)
	var parent session.Parent
	if d.opened.Parent != nil {
		parent = *d.opened.Parent
	}
	_, err = tx.Exec(`UPDATE sessions SET resource = ?, protocol = ?, destination = ?, assurance = ?, workload = ?, started = ?,
		repository = ?, run = ?, parent = ?, parent_operation = ? WHERE key = ?`,
		d.opened.Resource, d.opened.Protocol, d.opened.Destination.String(), d.opened.Workload.Assurance.String(),
		workload, stamp(d.opened.Started), d.opened.Workload.Repository(), run, parent.Session, int64(parent.Operation), key)
	if err != nil {
		return err
	}
	return addRun(tx, run, stamp(d.opened.Started))
}

// runOf names the run that a workload is part of, after a word that says how
// it is known, so that no job can claim its way into a run that a token names.
// A container is a run of its own where no CI system names one.
func runOf(w *workload.Workload) string {
	run := w.Run()
	switch {
	case run.ID != "" && run.Verified:
		return "verified:" + run.ID
	case run.ID != "":
		return "claimed:" + run.ID
	case w.Orch.Pod != "":
		return "pod:" + w.Orch.Pod
	case w.Kernel.Container != "":
		return "container:" + w.Kernel.Container
	}
	return ""
}

func addRun(tx *sql.Tx, run string, started int64) error {
	if run == "" {
		return nil
	}
	_, err := tx.Exec(`INSERT INTO runs (id, started) VALUES (?, ?)
		ON CONFLICT (id) DO UPDATE SET started = max(started, excluded.started)`, run, started)
	return err
}

// abandon ends the sessions that an agent's earlier epochs left open, and what
// they asked of people: their connections died with the program.
func abandon(tx *sql.Tx, agent, epoch string) error {
	_, err := tx.Exec(`UPDATE approvals SET state = 'abandoned' WHERE agent = ?1 AND state = 'pending'
		AND session IN (SELECT id FROM sessions WHERE agent = ?1 AND epoch <> ?2)`, agent, epoch)
	if err != nil {
		return fmt.Errorf("end approvals of earlier epochs: %w", err)
	}
	_, err = tx.Exec(`UPDATE sessions SET ended = newest, reason = 'agent lost'
		WHERE +agent = ? AND epoch <> ? AND ended IS NULL`, agent, epoch)
	if err != nil {
		return fmt.Errorf("end sessions of earlier epochs: %w", err)
	}
	return nil
}
