package approval

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// hold is one request while it waits. The goroutine in wait owns the ballot.
type hold struct {
	id     string
	signed []byte
	ballot *Ballot
	began  time.Time     // with its monotonic reading
	lasts  time.Duration // until the deadline
	number uint64
	votes  [][]byte // that counted
	roster func() *Roster
	log    *zap.Logger

	mu      sync.Mutex
	updates chan Update // sent to under mu until it is closed
	closed  bool        // guarded by mu
}

// deliver hands in an update, and reports whether there was room for it.
func (h *hold) deliver(update Update) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	select {
	case h.updates <- update:
		return true
	default:
		return false
	}
}

// close ends delivery and returns what nobody read.
func (h *hold) close() []Update {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	close(h.updates)
	var unread []Update
	for update := range h.updates {
		unread = append(unread, update)
	}
	return unread
}

// wait reads updates until the ballot, the deadline or the end of ctx settles
// the request. Whatever else is ready, the end of ctx and the deadline go
// first: a vote that comes with them is late. Updates that change nothing are
// not shown to the waiting client, so that nobody can flood it.
func (h *hold) wait(ctx context.Context, witness Witness) (Settlement, error) {
	deadline := time.NewTimer(h.lasts - time.Since(h.began))
	defer deadline.Stop()
	tick := time.NewTicker(waitingEvery)
	defer tick.Stop()
	witness.Waiting(h.progress())
	for {
		var update Update
		select {
		case update = <-h.updates:
		case <-tick.C:
			witness.Waiting(h.progress())
			continue
		case <-deadline.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return h.settlement(Withdrawn, nil), nil
		}
		if time.Since(h.began) >= h.lasts {
			return h.settlement(Expired, nil), nil
		}
		before := h.progress()
		settlement, err := h.apply(update, witness)
		if err != nil || settlement.State != Pending {
			return settlement, err
		}
		if now := h.progress(); now.Number != before.Number || now.Votes != before.Votes {
			witness.Waiting(now)
		}
	}
}

// apply takes one update into account and returns where the request stands.
func (h *hold) apply(update Update, witness Witness) (Settlement, error) {
	if update.Number != 0 {
		h.setNumber(update.Number)
		return h.settlement(Pending, nil), nil
	}
	now := time.Now()
	vote, err := h.ballot.Add(update.Vote, h.roster(), now)
	if errors.Is(err, ErrAlready) {
		return h.settlement(Pending, nil), nil // the collector sends votes again; this is no news
	}
	if err != nil {
		h.log.Warn("a vote does not count", zap.String("approval", h.id), zap.Error(err))
		return h.settlement(Pending, nil), nil
	}
	if err := witness.Voted(vote, update.Vote); err != nil {
		return Settlement{}, fmt.Errorf("record a vote: %w", err)
	}
	h.votes = append(h.votes, update.Vote)
	state, votes := h.ballot.Count(h.roster(), now)
	return h.settlement(state, votes), nil
}

// setNumber keeps the first number. Another one is somebody's attempt to have
// people talk about the wrong request; a vote would not count for it anyway.
func (h *hold) setNumber(number uint64) {
	if h.number != 0 && h.number != number {
		h.log.Warn("approval got a second number", zap.String("approval", h.id),
			zap.Uint64("number", h.number), zap.Uint64("second", number))
		return
	}
	h.number = number
}

func (h *hold) progress() Progress {
	_, votes := h.ballot.Count(h.roster(), time.Now())
	return Progress{Number: h.number, Votes: len(votes), Elapsed: time.Since(h.began), Deadline: h.ballot.request.NotAfter}
}

// settlement describes a state and the votes that brought it.
func (h *hold) settlement(state State, deciding []Vote) Settlement {
	s := Settlement{State: state, Number: h.number, Request: h.signed, Votes: h.votes}
	if state != Approved && state != Denied {
		return s
	}
	for _, vote := range deciding {
		s.Deciders = append(s.Deciders, vote.Approver)
		s.Reason = vote.Reason
		if s.Scope == "" || vote.Scope == Once {
			s.Scope = vote.Scope
		}
		if s.Until.IsZero() || vote.Expires.Before(s.Until) {
			s.Until = vote.Expires
		}
	}
	return s
}
