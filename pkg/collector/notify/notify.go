// Package notify tells people elsewhere that something waits for them, and
// what became of it: by webhook, in a chat, by mail.
//
// What is to be told stands in the store's outbox, in the same transaction as
// what happened, and leaves it when the notifier has taken it: at least once,
// after restarts too. A notifier that is away delays its own messages and
// nothing else; no decision waits for it. Messages name the rule, the resource
// and a link. Of what a job wrote they hold only the masked text that approvers
// see, and only where the configuration says so.
package notify

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
)

const (
	firstPause  = 5 * time.Second
	longestTime = 30 * time.Second // of one attempt
	maxAttempts = 14               // about a day, with the pauses of backoff
)

// Notifier takes messages. Take returns nil when the other end has it.
type Notifier interface {
	Take(ctx context.Context, m Message) error
}

// Message is one thing to tell. Its ID is the same at each attempt.
type Message struct {
	ID     string
	Number uint64
	State  string // "pending" when somebody is asked
	At     time.Time
	Resource, Repository,
	Rule, Reason, Text string // Text is empty unless it may be told
	Until     time.Time
	Link      string
	Approvers []string // who decided
}

// Sender works off the outbox for one notifier.
type Sender struct {
	Name     string
	Notifier Notifier
	Store    *store.Store
	Console  string // URL
	Texts    bool   // messages may hold the masked text
	Log      *zap.Logger
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	for {
		moved := s.Store.Moved()
		m, ok, due, err := s.Store.NextMessage(ctx, s.Name)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("notify %s: %w", s.Name, err)
		}
		if ok {
			if err := s.send(ctx, m); err != nil && ctx.Err() == nil {
				return fmt.Errorf("notify %s: %w", s.Name, err)
			}
			continue
		}
		wait := time.Minute
		if !due.IsZero() {
			wait = min(wait, max(time.Until(due), 10*time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-moved:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// send makes one attempt and keeps what came of it. Its error is the store's.
func (s *Sender) send(ctx context.Context, m store.Message) error {
	attempt, cancel := context.WithTimeout(ctx, longestTime)
	defer cancel()
	err := s.Notifier.Take(attempt, s.message(m))
	switch {
	case err == nil:
		return s.Store.Delivered(ctx, m.ID)
	case ctx.Err() != nil:
		return nil // the program stops; the message stays
	case m.Attempts+1 >= maxAttempts:
		s.Log.Error("A message is given up", zap.String("notifier", s.Name), zap.Int64("message", m.ID), zap.Error(err))
		return s.Store.Delivered(ctx, m.ID)
	}
	s.Log.Warn("A message was not taken", zap.String("notifier", s.Name), zap.Int("attempts", m.Attempts+1), zap.Error(err))
	return s.Store.Failed(ctx, m.ID, time.Now().Add(pause(m.Attempts)))
}

// pause doubles with each failure, up to three hours.
func pause(failed int) time.Duration {
	return min(firstPause<<min(failed, 20), 3*time.Hour)
}

func (s *Sender) message(m store.Message) Message {
	a := m.Approval
	out := Message{
		ID: fmt.Sprintf("approval-%s-%d", a.ID, m.ID), Number: a.Number, State: m.State, At: m.At,
		Resource: a.Resource, Repository: a.Repository, Rule: a.Rule, Reason: a.Reason,
		Until: a.NotAfter, Link: fmt.Sprintf("%s/approvals/%d", s.Console, a.Number),
	}
	if s.Texts {
		out.Text = a.Text
	}
	for _, v := range a.Votes {
		out.Approvers = append(out.Approvers, v.Approver)
	}
	return out
}

// Title says a message in one line.
func (m Message) Title() string {
	if m.State == "pending" {
		return fmt.Sprintf("Approval #%d is asked for: %s on %s", m.Number, m.Rule, m.Resource)
	}
	return fmt.Sprintf("Approval #%d is %s: %s on %s", m.Number, m.State, m.Rule, m.Resource)
}
