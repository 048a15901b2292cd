package agent

import (
	"context"
	"fmt"
	"maps"
	"time"

	"go.uber.org/zap"
)

// followEvery is how often the Engine is asked where its containers are. So
// long at most a new published port of a protected one goes unnoticed.
const followEvery = time.Second

// protect resolves names and hands the addresses to the kernel. The look-up
// table changes after the kernel's when addresses come: a connection in
// between is closed for want of a resource, never served as another's.
func (a *Agent) protect(ctx context.Context, now time.Time) error {
	if _, err := a.follow(ctx, now); err != nil {
		a.Log.Warn("Containers could not be listed", zap.Error(err))
	}
	if err := a.where.refresh(ctx, now); err != nil {
		return err
	}
	return a.apply(ctx)
}

// follow asks where containers are now. When nobody answers, they are where
// they were.
func (a *Agent) follow(ctx context.Context, now time.Time) (moved bool, err error) {
	all, err := a.Registry.Containers(ctx)
	if err != nil {
		return false, err
	}
	return a.where.follow(all, now), nil
}

func (a *Agent) apply(ctx context.Context) error {
	wanted, routes := a.where.protected()
	if old := a.table.Load(); old != nil && maps.Equal(*old, routes) {
		return nil
	}
	if err := a.Broker.Protect(ctx, wanted); err != nil {
		return err
	}
	a.table.Store(&routes)
	return nil
}

// keepProtecting follows the names and the containers. A name that cannot be
// resolved keeps its addresses.
func (a *Agent) keepProtecting(ctx context.Context) error {
	names, containers := time.NewTicker(resolveEvery), time.NewTicker(followEvery)
	defer names.Stop()
	defer containers.Stop()
	listed := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-names.C:
			a.resolve(ctx, now)
		case now := <-containers.C:
			moved, err := a.follow(ctx, now)
			if err != nil && listed {
				a.Log.Warn("Containers can no longer be listed", zap.Error(err))
			}
			listed = err == nil
			if moved {
				a.resolve(ctx, now)
			}
		}
		if err := a.apply(ctx); err != nil {
			return fmt.Errorf("protect destinations: %w", err)
		}
	}
}

func (a *Agent) resolve(ctx context.Context, now time.Time) {
	if err := a.where.refresh(ctx, now); err != nil {
		a.Log.Warn("Some destinations could not be resolved", zap.Error(err))
	}
}
