package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
)

// The codes of findings that the collector itself can make. They are early
// warnings: offline verification of an export is what counts.
const (
	Equivocation     = "equivocation"      // two notes for one place in a chain, both signed by the agent
	Gap              = "gap"               // a batch was missing for longer than the parking time
	UnlinkedEpoch    = "unlinked-epoch"    // an epoch that does not continue the one before: the spool was lost
	ChainBroken      = "chain-broken"      // prev is not the hash of the note before
	RecordUnreadable = "record-unreadable" // signed by the agent, but not a record that we know
	SessionReused    = "session-reused"    // an id that another agent's session already has
	RecordsMissing   = "records-missing"   // the numbers of records do not go on where they ended
	DropsStated      = "drops"             // the agent says that it lost records
	LogForked        = "log-forked"        // an agent has seen a log that is not this one
)

// AlertPrefix begins the code of what an agent's interception stopped; the
// kind of the alert follows.
const AlertPrefix = "alert-"

// alerts are those of one batch, by kind.
type alerts struct {
	kinds  []string          // in the order of their first alert
	detail map[string]string // what a finding says
}

// maxAlertDetail bounds what one finding says of many alerts; the records have
// them all.
const maxAlertDetail = 1 << 10

// add takes an alert, or nil, into account.
func (a *alerts) add(alert *record.Alert) {
	if alert == nil {
		return
	}
	if a.detail == nil {
		a.detail = make(map[string]string)
	}
	said, known := a.detail[alert.Kind]
	if !known {
		a.kinds = append(a.kinds, alert.Kind)
	}
	one := fmt.Sprintf("%d× %s %s", alert.Count, alert.Destination, alert.Detail)
	if known {
		one = said + "; " + one
	}
	if len(one) <= maxAlertDetail {
		a.detail[alert.Kind] = one
	}
}

// Finding adds a finding. The same one twice is kept once.
func (s *Store) Finding(ctx context.Context, f view.Finding) error {
	return s.change(ctx, func(tx *sql.Tx) error { return addFinding(tx, f) })
}

func addFinding(tx *sql.Tx, f view.Finding) error {
	_, err := tx.Exec(`INSERT INTO findings (at, agent, epoch, seq, code, detail) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, stamp(f.At), f.Agent, f.Epoch, int64(f.Seq), f.Code, f.Detail)
	if err != nil {
		return fmt.Errorf("add finding: %w", err)
	}
	return nil
}

// Findings returns the newest findings.
func (s *Store) Findings(ctx context.Context, n int) ([]view.Finding, error) {
	rows, err := s.read.QueryContext(ctx,
		"SELECT at, agent, epoch, seq, code, detail FROM findings ORDER BY id DESC LIMIT ?", limit(n))
	if err != nil {
		return nil, fmt.Errorf("list findings: %w", err)
	}
	return collect(rows, func(row scanner) (f view.Finding, err error) {
		var at int64
		err = row.Scan(&at, &f.Agent, &f.Epoch, &f.Seq, &f.Code, &f.Detail)
		f.At = moment(at)
		return f, err
	})
}

// maxQuarantined bounds how many disbelieved messages are kept of each agent's
// subject. Beyond it they are refused: the first ones tell the story.
const maxQuarantined = 1000

// Quarantine keeps a message that is not believed. agent is whose subject it
// came in on, which the bus attests. The same message twice is kept once.
// kept is false when the agent's share is full.
func (s *Store) Quarantine(ctx context.Context, agent, reason string, note, payload []byte) (kept bool, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM quarantine WHERE agent = ?", agent).Scan(&n); err != nil {
			return err
		}
		if n >= maxQuarantined {
			return nil
		}
		kept = true
		return quarantine(tx, agent, reason, note, payload)
	})
	if err != nil {
		return false, fmt.Errorf("quarantine: %w", err)
	}
	return kept, nil
}

func quarantine(tx *sql.Tx, agent, reason string, note, payload []byte) error {
	digest := sha256.New()
	_, _ = fmt.Fprintf(digest, "%d %d\n", len(agent), len(note)) // a hash never fails to write
	for _, part := range [][]byte{[]byte(agent), note, payload} {
		_, _ = digest.Write(part)
	}
	_, err := tx.Exec(`INSERT INTO quarantine (digest, at, agent, reason, note, payload) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, digest.Sum(nil), stamp(time.Now()), agent, reason, notNull(note), notNull(payload))
	if err != nil {
		return fmt.Errorf("write quarantine: %w", err)
	}
	return nil
}

// notNull gives an empty blob for nil, which SQL would take for NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Quarantined returns why messages in an agent's name were not believed,
// newest first.
func (s *Store) Quarantined(ctx context.Context, agent string) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT reason FROM quarantine WHERE agent = ? ORDER BY id DESC", agent)
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	return collect(rows, func(row scanner) (reason string, err error) {
		err = row.Scan(&reason)
		return reason, err
	})
}
