package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
)

// quiet is two heartbeats: an agent that has not sealed its chain and is
// silent for longer has crashed, is cut off, or is being silenced.
const quiet = 60 * time.Second

// Chains returns the agents that have sent batches, each with its newest
// epoch, by name.
func (s *Store) Chains(ctx context.Context) ([]view.Chain, error) {
	rows, err := s.read.QueryContext(ctx, `
		SELECT c.agent, c.epoch, c.reason, c.next_seq, c.sealed, c.stored, c.behind, c.version, c.host, c.policy, c.policy_since,
			(SELECT sum(records) FROM chains WHERE agent = c.agent),
			(SELECT sum(drops) FROM chains WHERE agent = c.agent),
			(SELECT count(*) FROM findings WHERE agent = c.agent),
			(SELECT count(*) FROM parked WHERE agent = c.agent),
			(SELECT count(*) FROM quarantine WHERE agent = c.agent)
		FROM chains c
		WHERE c.newest = (SELECT max(newest) FROM chains WHERE agent = c.agent)
		ORDER BY c.agent`)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	return collect(rows, func(row scanner) (c view.Chain, err error) {
		var seen, since int64
		err = row.Scan(&c.Agent, &c.Epoch, &c.Reason, &c.NextSeq, &c.Sealed, &seen, &c.Behind, &c.Version, &c.Host, &c.Policy, &since,
			&c.Records, &c.Drops, &c.Findings, &c.Parked, &c.Quarantined)
		at := moment(seen)
		c.LastSeen = &at
		if c.Policy != "" {
			from := moment(since)
			c.PolicySince = &from
		}
		c.TailOpen = !c.Sealed && time.Since(at) > quiet
		return c, err
	})
}

// ChainEnd is where an agent's newest epoch ends.
type ChainEnd struct {
	Epoch  record.Epoch
	Hash   record.Hash // of its newest note
	Sealed bool
}

// ChainEnd returns where an agent's newest epoch ends, and whether it has one.
func (s *Store) ChainEnd(ctx context.Context, agent string) (end ChainEnd, found bool, err error) {
	var epoch string
	var hash []byte
	err = s.read.QueryRowContext(ctx, "SELECT epoch, last_hash, sealed FROM chains WHERE agent = ? ORDER BY newest DESC LIMIT 1", agent).
		Scan(&epoch, &hash, &end.Sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return end, false, nil
	}
	if err != nil {
		return end, false, fmt.Errorf("read chain: %w", err)
	}
	copy(end.Hash[:], hash)
	end.Epoch, err = record.ParseEpoch(epoch)
	return end, err == nil, err
}
