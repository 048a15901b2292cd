package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/siem"
	"github.com/sluicegate/sluice/pkg/translog"
)

// forwardKey is where a forwarder's place in the log is kept.
func forwardKey(name string) string { return "forward:" + name }

// Forwarded returns the first leaf that a forwarder has not sent. One that is
// new begins at the end of the log as it is now.
func (s *Store) Forwarded(ctx context.Context, name string) (next int64, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRow("SELECT value FROM meta WHERE key = ?", forwardKey(name)).Scan(&next)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if next, err = logSize(ctx, tx); err != nil {
			return err
		}
		return setMeta(tx, forwardKey(name), next)
	})
	if err != nil {
		return 0, fmt.Errorf("read place of forwarder: %w", err)
	}
	return next, nil
}

// SetForwarded keeps how far a forwarder has come.
func (s *Store) SetForwarded(ctx context.Context, name string, next int64) error {
	_, err := s.write.ExecContext(ctx, "UPDATE meta SET value = ? WHERE key = ?", next, forwardKey(name))
	if err != nil {
		return fmt.Errorf("keep place of forwarder: %w", err)
	}
	return nil
}

// From reads at most n batches from a leaf on, and the leaf behind the last of
// them. Shreddings are not among them.
func (s *Store) From(ctx context.Context, first int64, n int) (batches []siem.Batch, next int64, err error) {
	found, err := s.batches(ctx, first, n)
	if err != nil {
		return nil, first, err
	}
	next = first
	for _, b := range found {
		note, err := translog.PeekBatch(b.note)
		if err != nil {
			return nil, first, fmt.Errorf("batch %d: %w", b.index, err)
		}
		batches = append(batches, siem.Batch{Cluster: note.Cluster, Agent: b.agent, Epoch: b.epoch, Index: b.index, Entries: b.entries})
		next = b.index + 1
	}
	return batches, next, nil
}

// Opened returns an agent's session as its opening described it, nil when
// nothing is known of it.
func (s *Store) Opened(ctx context.Context, agent, id string) (*session.Session, error) {
	var destination string
	var parent session.Parent
	var started int64
	var workload []byte
	v := &session.Session{ID: id}
	err := s.read.QueryRowContext(ctx, "SELECT resource, protocol, destination, started, workload, parent, parent_operation FROM sessions WHERE id = ? AND agent = ?", id, agent).
		Scan(&v.Resource, &v.Protocol, &destination, &started, &workload, &parent.Session, &parent.Operation)
	if errors.Is(err, sql.ErrNoRows) || err == nil && v.Protocol == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	v.Started = moment(started)
	if parent.Session != "" {
		v.Parent = &parent
	}
	v.Destination, _ = netip.ParseAddrPort(destination) // what is no address stays none
	if err := json.Unmarshal(workload, &v.Workload); err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	return v, nil
}
