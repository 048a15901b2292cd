// Package destination decides which addresses are protected, and whose they are.
//
// It runs in the privileged half: what is protected follows from the owner's
// policy, from what the policy's names resolve to, and from where Docker's and
// Podman's containers are, and never from what the proxy says. It promises that
// what the policy names is protected for as long as it is named; that an
// address is kept while somebody may still remember it for its name, also when
// nobody can be asked; that an address is withdrawn, not passed on, when its
// container goes; and that one which several resources have is theirs together
// where each session can be of one of them alone, and nobody's where it cannot.
//
// It reads answers of DNS, and from the engines' lists of containers ids,
// addresses and ports. A name's answer is believed: whoever controls the node's
// DNS can add an address, or take one away once nobody may remember it.
package destination

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
)

// lookEvery is how often the engines are asked where their containers are, and
// names that are due are resolved. So long at most a new published port of a
// protected container goes unnoticed.
const lookEvery = time.Second

// engineWait is how long the engines may take to answer. Where a service manager
// holds an engine's socket, that starts when it is asked, and may itself wait for
// the agent to be ready.
const engineWait = 2 * time.Second

// Config is what a Keeper needs.
type Config struct {
	Resources []policy.Resource
	// Containers asks where containers are now. When it fails, they are where it says
	// all the same or, if it says nothing, where they were.
	Containers func(context.Context) (attribution.Containers, error)
	// Apply puts a table in force. The old one stays in force when it fails.
	Apply func(Table) error
	Log   *zap.Logger
}

// Keeper keeps the right table in force.
type Keeper struct {
	Config
	names   *names
	resolve func(ctx context.Context, name string) (answer, error)
	applied Table
	listed  bool // containers could be, the last time
}

// New returns a Keeper that has nothing in force yet.
func New(cfg Config) *Keeper {
	return &Keeper{Config: cfg, names: newNames(cfg.Resources), resolve: resolve, listed: true}
}

// Resolve asks once for where containers are and until every name has an
// address. It waits for names as long as patience says: at boot, DNS may come
// after the agent.
func (k *Keeper) Resolve(ctx context.Context, patience time.Duration) error {
	began := time.Now()
	k.follow(ctx, began)
	due := k.names.due(began)
	for {
		answers := k.lookUp(ctx, due)
		err := k.names.take(answers, time.Now())
		if err == nil {
			return nil
		}
		if time.Since(began) >= patience {
			return fmt.Errorf("protect destinations: %w", err)
		}
		k.Log.Warn("Some destinations cannot be resolved yet", zap.Error(err))
		due = failed(answers)
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return fmt.Errorf("protect destinations: %w", err)
		}
	}
}

// failed returns the names that have no answer.
func failed(answers []answer) (without []*named) {
	for _, a := range answers {
		if a.err != nil {
			without = append(without, a.named)
		}
	}
	return without
}

// Start puts the first table in force, after Resolve.
func (k *Keeper) Start() error { return k.apply() }

// Run follows names and containers until ctx ends, and may be called again. A name that cannot be
// resolved keeps its addresses.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	answers := make(chan []answer, 1)
	asking := false
	for {
		select {
		case <-ctx.Done():
			if asking {
				<-answers
			}
			return nil
		case got := <-answers:
			asking = false
			if err := k.names.take(got, time.Now()); err != nil && ctx.Err() == nil {
				k.Log.Warn("Some destinations could not be resolved", zap.Error(err))
			}
		case now := <-tick.C:
			k.follow(ctx, now)
			if due := k.names.due(now); len(due) > 0 && !asking {
				asking = true
				go func() { answers <- k.lookUp(ctx, due) }() // a server that is slow keeps containers waiting no longer
			}
		}
		if err := k.apply(); err != nil {
			return err
		}
	}
}

// follow asks where containers are now.
func (k *Keeper) follow(ctx context.Context, now time.Time) {
	asking, cancel := context.WithTimeout(ctx, engineWait)
	defer cancel()
	all, err := k.Containers(asking)
	if err != nil && k.listed && ctx.Err() == nil {
		k.Log.Warn("Containers could not be listed", zap.Error(err))
	}
	k.listed = err == nil
	if err == nil || all.Owners != nil {
		k.names.follow(all, now)
	}
}

func (k *Keeper) apply() error {
	table := k.names.table()
	if k.applied != nil && maps.EqualFunc(k.applied, table, Route.equal) {
		return nil
	}
	if err := k.Apply(table); err != nil {
		return errors.Join(errors.New("protect destinations"), err)
	}
	k.warn(table)
	k.applied = table
	return nil
}

// warn says of each destination that came to be of several resources which
// nobody can tell apart. It is refused until they can be, or one of them leaves.
func (k *Keeper) warn(table Table) {
	for at, route := range table {
		if len(route.Clash) > 0 && !slices.Equal(route.Clash, k.applied[at].Clash) {
			k.Log.Warn("A destination belongs to several resources that do not select their sessions, and is refused",
				zap.Stringer("destination", at.Prefix), zap.Uint16("port", at.Port), zap.Strings("resources", route.Clash))
		}
	}
}
