package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/translog"
)

// The newest checkpoint is kept in a file beside the database, so that a
// database that was deleted or replaced by an older one shows: the log's key
// must not sign a second log. It is at most keepEvery old.
const keepEvery = time.Second

// ErrRolledBack reports a database whose log is not the one that this collector
// had.
var ErrRolledBack = errors.New("the database's log is not the one that this collector had: it was deleted, or an older one was restored")

// checkNewest compares the log with the newest checkpoint that was kept.
func checkNewest(ctx context.Context, d dir, db *store.Store, logKey string) error {
	signed, err := os.ReadFile(d.newest())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read newest checkpoint: %w", err)
	}
	key, err := translog.NewVerifier(logKey)
	if err != nil {
		return err
	}
	kept, err := translog.OpenCheckpoint(signed, key)
	if err != nil {
		return fmt.Errorf("%s: %w", d.newest(), err)
	}
	size, err := db.Size(ctx)
	if err != nil {
		return err
	}
	if size < kept.Size {
		return fmt.Errorf("%w: %d leaves, and there were %d", ErrRolledBack, size, kept.Size)
	}
	root, err := translog.Root(kept.Size, db.Hashes(ctx))
	if err != nil {
		return err
	}
	if root != kept.Root {
		return fmt.Errorf("%w: other leaves", ErrRolledBack)
	}
	return nil
}

// keepNewest keeps the newest checkpoint until ctx ends.
func (c *Collector) keepNewest(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	var kept []byte
	for {
		_, signed, err := c.store.Checkpoint(context.WithoutCancel(ctx))
		if err == nil && !bytes.Equal(signed, kept) {
			err = replace(c.cfg.dir().newest(), signed, 0o600)
			kept = signed
		}
		if err != nil {
			kept = nil // a full disk is tried again
			c.log.Error("The newest checkpoint could not be kept", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
