package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

// An upgrade is a second agent that takes over from the first: it is started
// from the program's file and reads the configuration anew. Until it runs, the
// first can go on; from then on the first only waits for its last session.

const (
	successorName = "succeed"
	// leaveWait is how long the proxy may take to hand its records over.
	leaveWait = 20 * time.Second
	// beatEvery keeps connections waiting, not refused, while nobody answers.
	beatEvery = 200 * time.Millisecond
)

// upgrade starts a successor and hands over to it. On an error this half is in
// charge as before.
func (h *half) upgrade(ctx context.Context, old *guard) (*broker.Successor, error) {
	h.log.Info("A successor starts", zap.String("program", h.program))
	cmd := exec.Command(h.program, successorName, "--config", h.file)
	cmd.Stderr = os.Stderr
	next, err := broker.StartSuccessor(ctx, cmd, int(h.kernel.Pins().Fd()))
	if err != nil {
		return nil, err
	}
	old.pause(redirect.ErrPause)
	if err := <-old.ended; err != nil {
		next.Abort()
		return nil, err
	}
	beating, enough := context.WithCancel(ctx)
	defer enough()
	go h.beat(beating)
	if err := h.handOver(ctx, next); err != nil {
		next.Abort()
		h.halves.Return()
		err = errors.Join(err, h.kernel.TakeBack())
		*old = *h.guard(ctx)
		return nil, err
	}
	return next, nil
}

// handOver gives everything away, in the order in which it can be taken back.
func (h *half) handOver(ctx context.Context, next *broker.Successor) error {
	leaving, cancel := context.WithTimeout(ctx, leaveWait)
	defer cancel()
	baton, err := h.halves.HandOver(leaving)
	if err != nil {
		return err
	}
	names, err := h.keeper.Remembered()
	if err != nil {
		return err
	}
	ours, theirs, err := broker.Streams()
	if err != nil {
		return err
	}
	defer unix.Close(ours)   //nolint:errcheck // the proxy has its own descriptor
	defer unix.Close(theirs) //nolint:errcheck // so has the successor
	if err := next.Give(ctx, h.kernel, baton, theirs, names); err != nil {
		return err
	}
	h.halves.Retire(ours)
	return nil
}

func (h *half) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := h.kernel.Beat(); err != nil {
			h.log.Error("The programs do not hear of us", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// drain lets the last sessions end by themselves: for as long as the
// configuration says, and while the successor lives, which has their records.
func (h *half) drain(ctx context.Context, next *broker.Successor) {
	if err := h.kernel.LetGo(); err != nil {
		h.log.Warn("Something was not let go", zap.Error(err))
	}
	if err := notifySuccessor(next.PID()); err != nil {
		h.log.Warn("The service manager does not know the successor", zap.Error(err))
	}
	h.log.Info("A successor has taken over: this agent ends with its last session", zap.Int("pid", next.PID()))
	over := time.NewTimer(time.Duration(h.cfg.Upgrade.Drain))
	defer over.Stop()
	select {
	case <-ctx.Done(): // or the last session has ended
	case <-over.C:
		h.log.Warn("Sessions took longer than upgrade.drain, and are ended")
	case <-next.Gone():
	}
}

// succeed is run of an agent that takes over from another.
func succeed(ctx context.Context, file string, cfg config.Agent) (err error) {
	log, err := telemetry.NewLogger(telemetry.JSON, "info", "stderr")
	if err != nil {
		return err
	}
	predecessor, pins, err := broker.Succeed(os.NewFile(broker.Descriptor, "predecessor"))
	if err != nil {
		return err
	}
	kernel, err := redirect.Prepare(kernelConfig(cfg), pins, log)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil { // else what it took over goes back to the predecessor
			err = kernel.Close()
		}
	}()
	var once sync.Once
	ready := func() (err error) {
		once.Do(func() { err = predecessor.Running() })
		return err
	}
	h, err := newHalf(file, cfg, kernel, ready, log)
	if err != nil {
		return err
	}
	if err := h.keeper.Resolve(ctx, 0); err != nil {
		return err
	}
	h.halves.Hold()
	// What is accepted dies with this process, and the predecessor may yet go on:
	// connections wait in the listeners until the proxy is ready.
	if err := kernel.Lend(true); err != nil {
		return err
	}
	// Its sessions end first: their records come here.
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		predecessor.End()
		end()
	})
	defer stop()
	defer end()
	return h.run(living, func(ctx context.Context) error { return h.inherit(ctx, predecessor) })
}

// inherit takes charge in the place of another.
func (h *half) inherit(ctx context.Context, predecessor *broker.Predecessor) error {
	select {
	case <-h.halves.Able():
	case <-ctx.Done():
		return nil
	}
	estate, err := predecessor.Take()
	if err != nil {
		return err
	}
	defer unix.Close(estate.Stream) //nolint:errcheck // the proxy has its own descriptor
	if err := h.kernel.TakeOver(estate.Listening); err != nil {
		return err
	}
	if err := errors.Join(h.keeper.Recall(estate.Names), h.keeper.Start()); err != nil {
		return err
	}
	if err := h.halves.Release(estate.Baton, estate.Stream); err != nil {
		return fmt.Errorf("release the proxy: %w", err)
	}
	return nil
}
