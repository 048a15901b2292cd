package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxRun bounds the sessions of one run that are summed up, newest first.
const maxRun = 1000

// Runs returns the runs of which something may be seen, newest first. before
// is the id of the last run of the page before.
func (s *Store) Runs(ctx context.Context, sees view.Scope, before string, n int) ([]view.Run, error) {
	var t terms
	if before != "" {
		t.add(true, "(started, key) < (SELECT started, key FROM runs WHERE id = ?)", before)
	}
	if !sees.All() {
		var seen terms
		seen.add(true, "run = runs.id")
		seen.scope(sees, withoutIndex)
		t.add(true, "EXISTS (SELECT 1 FROM sessions"+seen.where()+")", seen.args...)
	}
	rows, err := s.read.QueryContext(ctx, "SELECT id FROM runs"+t.where()+" ORDER BY started DESC, key DESC LIMIT ?", append(t.args, limit(n))...)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	ids, err := collect(rows, func(row scanner) (id string, err error) {
		err = row.Scan(&id)
		return id, err
	})
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	runs := make([]view.Run, 0, len(ids))
	for _, id := range ids {
		run, err := s.Run(ctx, sees, id)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// Run sums up what may be seen of a run.
func (s *Store) Run(ctx context.Context, sees view.Scope, id string) (view.Run, error) {
	var t terms
	t.add(true, "run = ?", id)
	t.scope(sees, withoutIndex)
	var resources string
	var started, newest int64
	run := view.Run{ID: id}
	err := s.read.QueryRowContext(ctx, `SELECT min(started), max(started), max(repository), group_concat(DISTINCT resource),
			count(*), count(*) FILTER (WHERE ended IS NULL), sum(operations), sum(denied), sum(held), sum(masked)
		FROM (SELECT * FROM sessions`+t.where()+` ORDER BY started DESC LIMIT ?) HAVING count(*) > 0`, append(t.args, maxRun)...).
		Scan(&started, &newest, &run.Repository, &resources, &run.Sessions, &run.Open, &run.Operations, &run.Denied, &run.Held, &run.Masked)
	if errors.Is(err, sql.ErrNoRows) {
		return view.Run{}, fmt.Errorf("run %w", ErrNotFound)
	}
	if err != nil {
		return view.Run{}, fmt.Errorf("read run: %w", err)
	}
	run.Started, run.Newest = moment(started), moment(newest)
	run.Resources = strings.Split(resources, ",")
	slices.Sort(run.Resources)
	return run, nil
}
