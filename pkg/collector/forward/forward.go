// Package forward sends records to other systems as they are stored, as OCSF
// over OTLP or as CEF over syslog.
//
// It follows the log from a place that the store keeps for each receiver, and
// moves on when the receiver has taken what was sent: at least once, after
// restarts too. A receiver that is away or slow delays its own records and
// nothing else; it is tried again for ever. What a receiver refuses for its
// content is narrowed down to the record, left out and logged. Texts are sent
// only where the configuration says so; what has been sent cannot be shredded.
package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/siem"
)

const (
	groupBatches = 16  // read at once
	groupEvents  = 256 // sent at once
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	longestSend  = time.Minute
	pollEvery    = time.Minute // in case a signal was missed
)

// ErrContent reports that a receiver refuses what it was sent, and would
// refuse it again.
var ErrContent = errors.New("the receiver refuses the content")

// Receiver takes events. Send returns nil when the other end has all of them,
// as far as its protocol can tell.
type Receiver interface {
	Send(ctx context.Context, events []siem.Event) error
	Close()
}

// Sender follows the log for one receiver.
type Sender struct {
	Name     string
	Receiver Receiver
	Store    *store.Store
	Texts    bool // events may hold what jobs wrote
	Log      *zap.Logger
}

// Run sends until ctx ends. Its error is the store's.
func (s *Sender) Run(ctx context.Context) error {
	defer s.Receiver.Close()
	next, err := s.Store.Forwarded(ctx, s.Name)
	if err != nil {
		return s.ended(ctx, err)
	}
	reader := siem.Reader{Lookup: func(agent, id string) (*session.Session, error) { return s.Store.Opened(ctx, agent, id) }}
	for {
		moved := s.Store.Moved()
		batches, behind, err := s.Store.From(ctx, next, groupBatches)
		if err != nil {
			return s.ended(ctx, err)
		}
		if len(batches) == 0 {
			if !wait(ctx, moved, pollEvery) {
				return nil
			}
			continue
		}
		for _, b := range batches {
			events, err := reader.Events(b)
			if err != nil {
				return s.ended(ctx, err)
			}
			if err := s.deliver(ctx, events); err != nil {
				return nil // ctx ended
			}
		}
		if err := s.Store.SetForwarded(ctx, s.Name, behind); err != nil {
			return s.ended(ctx, err)
		}
		next = behind
	}
}

// ended is nil for an error that is only the program's end.
func (s *Sender) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("forward to %s: %w", s.Name, err)
}

// deliver sends events in groups until the receiver has them all. Its only
// error is the end of ctx.
func (s *Sender) deliver(ctx context.Context, events []siem.Event) error {
	if !s.Texts {
		for i := range events {
			events[i].HideTexts()
		}
	}
	for len(events) > 0 {
		n := min(groupEvents, len(events))
		if err := s.send(ctx, events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// send tries until the receiver has taken the events, or has refused single
// ones for their content.
func (s *Sender) send(ctx context.Context, events []siem.Event) error {
	for failed := 0; ; failed++ {
		attempt, cancel := context.WithTimeout(ctx, longestSend)
		err := s.Receiver.Send(attempt, events)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if failed > 0 {
				s.Log.Info("The receiver takes records again", zap.String("forwarder", s.Name), zap.Int("attempts", failed+1))
			}
			return nil
		case errors.Is(err, ErrContent) && len(events) > 1:
			half := len(events) / 2
			if err := s.send(ctx, events[:half]); err != nil {
				return err
			}
			return s.send(ctx, events[half:])
		case errors.Is(err, ErrContent):
			s.Log.Error("A record is refused by the receiver and left out",
				zap.String("forwarder", s.Name), zap.String("record", events[0].UID()), zap.Error(err))
			return nil
		}
		s.Log.Warn("Records are not taken and will be sent again", zap.String("forwarder", s.Name), zap.Int("attempts", failed+1), zap.Error(err))
		if !wait(ctx, nil, pause(failed, err)) {
			return ctx.Err()
		}
	}
}

// busyError is a receiver's wish to be left alone for a while.
type busyError struct {
	reason string
	after  time.Duration
}

func (b *busyError) Error() string { return b.reason }

// pause doubles with each failure, unless the receiver names a longer one.
func pause(failed int, err error) time.Duration {
	long := min(firstPause<<min(failed, 20), longestPause)
	var busy *busyError
	if errors.As(err, &busy) {
		long = min(max(long, busy.after), longestPause)
	}
	return long
}

// wait returns false when ctx ended.
func wait(ctx context.Context, moved <-chan struct{}, long time.Duration) bool {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-moved:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}
