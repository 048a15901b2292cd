package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/spool"
)

const (
	// takeBackWait is how long the spool may still be in a dying process's hands.
	takeBackWait = 10 * time.Second
	takeBackTry  = 20 * time.Millisecond
)

// inherit opens the trail as the privileged half says: a new epoch, or the one
// that another proxy has begun and whose sessions go on.
func inherit(ctx context.Context, privileged *broker.Client, open func(*audit.Baton) (*trail, error)) (*trail, error) {
	inherited, err := privileged.Begin(ctx)
	if err != nil {
		return nil, err
	}
	if inherited.Baton == nil {
		return open(nil)
	}
	var baton audit.Baton
	if err := json.Unmarshal(inherited.Baton, &baton); err != nil {
		return nil, fmt.Errorf("carry the trail on: %w", err)
	}
	t, err := open(&baton)
	if err != nil {
		return nil, errors.Join(err, inherited.Stream.Close())
	}
	t.inherited = make(chan struct{})
	t.runs.Go(func() error {
		defer close(t.inherited)
		return t.serve(ctx, inherited.Stream)
	})
	return t, nil
}

// outlast waits for the last session of the proxy that was there before: its
// records come through this one, also when this one has left.
func (t *trail) outlast(ctx context.Context) {
	if t.inherited == nil {
		return
	}
	select {
	case <-t.inherited:
	case <-ctx.Done():
	}
}

// serve writes the records of the proxy that was there before. Should that fail,
// its sessions end, and this one's go on.
func (t *trail) serve(ctx context.Context, stream net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() }) // ends Serve
	defer stop()
	if err := t.log.Serve(stream); err != nil && ctx.Err() == nil {
		t.zap.Error("The records of the proxy before are refused", zap.Error(err))
	}
	return nil
}

// run spools, signs and sends until ctx ends; then it seals.
func (t *trail) run(ctx context.Context, privileged *broker.Client, page *page) error {
	t.runs.Go(func() error { return t.log.Run(ctx) })
	t.runs.Go(func() error { return t.change(ctx, privileged, page) })
	return t.runs.Wait()
}

// change does what upgrades ask for.
func (t *trail) change(ctx context.Context, privileged *broker.Client, page *page) error {
	var baton audit.Baton
	for {
		select {
		case <-ctx.Done():
			return nil
		case asked := <-privileged.Changes():
			var err error
			switch asked.Kind {
			case broker.Leave:
				baton, err = t.leave(privileged, page)
			case broker.Retire:
				t.now.Load().log.Follow(audit.NewRemote(asked.Stream))
			case broker.Return:
				err = t.takeBack(ctx, baton, page)
			}
			if err != nil {
				return fmt.Errorf("hand the trail over: %w", err)
			}
		}
	}
}

// leave gives up the spool, and the address of the metrics page.
func (t *trail) leave(privileged *broker.Client, page *page) (audit.Baton, error) {
	w := t.now.Load()
	baton, err := w.log.HandOver()
	err = errors.Join(err, w.spool.Close(), page.close())
	encoded, encodeErr := json.Marshal(baton)
	if err := errors.Join(err, encodeErr); err != nil {
		return baton, err
	}
	return baton, privileged.Left(encoded)
}

// takeBack goes on writing, where the one that was to take over has left off.
func (t *trail) takeBack(ctx context.Context, baton audit.Baton, page *page) error {
	began := time.Now()
	next, err := t.open(&baton)
	for errors.Is(err, spool.ErrLocked) && time.Since(began) < takeBackWait {
		<-time.After(takeBackTry)
		next, err = t.open(&baton)
	}
	if err != nil {
		return err
	}
	before := t.now.Swap(next)
	t.runs.Go(func() error { return next.log.Run(ctx) })
	before.log.Follow(next.log)
	return page.open()
}
