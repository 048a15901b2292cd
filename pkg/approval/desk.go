package approval

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Config is what a Desk works with. Every field must be set.
type Config struct {
	Key ed25519.PrivateKey // the agent's
	// Send hands a signed request to the collector. It is called again until
	// the request is settled, so the collector must take the same id twice. It
	// returns when ctx ends.
	Send func(ctx context.Context, id string, signed []byte) error
	// Roster returns the roster that counts now; nil while there is none, and
	// then no vote counts.
	Roster func() *Roster
	// Late is told of a vote that came after its request was settled. It must
	// not block.
	Late func(id string, signedVote []byte)
	// BreakGlass returns the break-glass token that counts while the collector
	// is away, and nil while the collector is there or there is no token.
	BreakGlass func() []byte
	// Preapprovals returns the signed pre-approvals that the agent was given.
	Preapprovals func() [][]byte
	Log          *zap.Logger
}

const (
	waitingEvery = 5 * time.Second
	sendEvery    = 10 * time.Second // so that a collector that was restarted learns of it again
	sendTimeout  = 5 * time.Second
	sendRetry    = time.Second

	// maxUpdates bounds the messages that wait for one hold. The collector
	// sends votes again whenever a request comes again, so a flood only delays.
	maxUpdates = 64
	// rememberFor is how long a settled request is known, to tell a late vote
	// from one about nothing.
	rememberFor = time.Hour
)

// Desk holds operations for an agent until people have answered. It is safe for
// concurrent use.
type Desk struct {
	cfg Config

	mu      sync.Mutex
	open    map[string]*hold     // by request id; guarded by mu
	settled map[string]time.Time // when to forget a request id; guarded by mu
	grants  map[string]Grant     // by what they are for; guarded by mu
}

// NewDesk returns a desk without holds. Nothing is resumed after a restart: the
// client connections behind the old holds are gone.
func NewDesk(cfg Config) *Desk {
	return &Desk{cfg: cfg, open: make(map[string]*hold), settled: make(map[string]time.Time), grants: make(map[string]Grant)}
}

// Witness is told what happens to one request, from the goroutine that called
// Ask. An error from it ends the hold: what cannot be recorded must not be
// acted on.
type Witness struct {
	// Requested comes first, before anybody is asked.
	Requested func(signedRequest []byte) error
	// Waiting comes at once, then whenever something changed and every five
	// seconds.
	Waiting func(Progress)
	// Voted comes for each vote that counts.
	Voted func(vote Vote, signedVote []byte) error
}

// Progress is where a hold stands.
type Progress struct {
	Number   uint64 // as people call it; 0 while the collector has not answered
	Votes    int    // that count so far
	Elapsed  time.Duration
	Deadline time.Time
}

// Settlement is how a request ended. The zero value lets nothing go on.
type Settlement struct {
	State    State
	Number   uint64
	Deciders []string  // who decided, as the roster names them
	Reason   string    // of the last decider
	Request  []byte    // as it was signed
	Votes    [][]byte  // that counted, as they were signed
	Scope    Scope     // of an approval: the narrowest of the votes'
	Until    time.Time // of an approval: when its first vote expires
}

// Ask holds until the request is settled, and returns how. It signs the
// request with the desk's key, sends it, and sends it again until the end. An
// error means that nobody was asked or that something could not be recorded:
// the operation must not go on. One id can be asked once.
func (d *Desk) Ask(ctx context.Context, request Request, witness Witness) (Settlement, error) {
	began := time.Now()
	h, err := d.hold(request, began)
	if err != nil {
		return Settlement{}, fmt.Errorf("ask for approval: %w", err)
	}
	defer d.settle(h)
	if err := witness.Requested(h.signed); err != nil {
		return Settlement{}, fmt.Errorf("ask for approval: record the request: %w", err)
	}

	sending, stop := context.WithCancel(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { d.send(sending, h) })
	defer sender.Wait()
	defer stop()

	settlement, err := h.wait(ctx, witness)
	if err != nil {
		return Settlement{}, fmt.Errorf("ask for approval: %w", err)
	}
	return settlement, nil
}

// BreakGlass returns the token that lets a request go on unasked, with its signed
// bytes; nil where people must be asked.
func (d *Desk) BreakGlass(request *Request, now time.Time) (*BreakGlass, []byte) {
	signed := d.cfg.BreakGlass()
	if signed == nil {
		return nil, nil
	}
	roster := d.cfg.Roster()
	token, err := OpenBreakGlass(signed, roster, request.Cluster, now)
	if err == nil {
		err = token.covers(request, roster)
	}
	if err != nil {
		d.cfg.Log.Warn("A break-glass token does not count", zap.String("rule", request.Rule), zap.Error(err))
		return nil, nil
	}
	d.cfg.Log.Error("A break-glass token is used", zap.String("token", token.ID), zap.String("rule", token.Rule),
		zap.Strings("people", token.People), zap.String("session", request.Session))
	return &token, signed
}

// Deliver hands in a message of the collector about a request. It never blocks
// and keeps nothing of message.
func (d *Desk) Deliver(id string, message []byte) {
	update, err := DecodeUpdate(message)
	if err != nil {
		d.cfg.Log.Warn("approval update is not readable", zap.String("approval", id), zap.Error(err))
		return
	}
	d.mu.Lock()
	h, open := d.open[id]
	_, settled := d.settled[id]
	d.mu.Unlock()
	switch {
	case open && !h.deliver(update):
		d.cfg.Log.Warn("approval updates come too fast", zap.String("approval", id))
	case open:
	case settled && len(update.Vote) > 0:
		d.cfg.Late(id, update.Vote)
	default:
		d.cfg.Log.Debug("approval update is about nothing that is held", zap.String("approval", id))
	}
}

// hold signs the request and makes it known to Deliver.
func (d *Desk) hold(request Request, began time.Time) (*hold, error) {
	lasts := request.NotAfter.Sub(began)
	if lasts <= 0 {
		return nil, ErrDeadline
	}
	signed, err := SignRequest(request, d.cfg.Key)
	if err != nil {
		return nil, err
	}
	ballot, err := NewBallot(signed, d.cfg.Key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	h := &hold{
		id: request.ID, signed: signed, ballot: ballot, began: began, lasts: lasts,
		updates: make(chan Update, maxUpdates), roster: d.cfg.Roster, log: d.cfg.Log,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.settled, func(_ string, until time.Time) bool { return began.After(until) })
	_, open := d.open[h.id]
	_, settled := d.settled[h.id]
	if open || settled {
		return nil, errors.New("the request was asked before")
	}
	d.open[h.id] = h
	return h, nil
}

// settle forgets a hold, and reports the votes that it left unread.
func (d *Desk) settle(h *hold) {
	d.mu.Lock()
	delete(d.open, h.id)
	d.settled[h.id] = h.began.Add(h.lasts + rememberFor)
	d.mu.Unlock()
	for _, update := range h.close() {
		if len(update.Vote) > 0 {
			d.cfg.Late(h.id, update.Vote)
		}
	}
}

// send hands the request to the collector, again and again, until ctx ends.
func (d *Desk) send(ctx context.Context, h *hold) {
	for {
		pause := sendEvery
		attempt, cancel := context.WithTimeout(ctx, sendTimeout)
		err := d.cfg.Send(attempt, h.id, h.signed)
		cancel()
		if err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn("approval request could not be sent", zap.String("approval", h.id), zap.Error(err))
			pause = sendRetry
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
