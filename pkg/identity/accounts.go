package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// askFor is how long a provider may take. Nobody waits longer than patience:
	// the rest is for the next connection.
	askFor = 5 * time.Second

	// An answer counts for usableFor, so that a job is not asked about at each
	// connection, and no longer, since a job ends without telling us. From
	// freshFor on the next connection has the provider asked again, and does not
	// wait for that.
	usableFor = time.Minute
	freshFor  = 30 * time.Second

	// A container may have its credentials asked about asksSaved times at once and
	// once in askEvery: it can flood neither a provider nor this memory.
	asksSaved = 16
	askEvery  = 2 * time.Second

	// maxAccounts bounds the containers that are remembered.
	maxAccounts = 4096
)

// accounts remember what providers said, apart for each container: none can use
// up what another may ask, or have what another was told.
type accounts struct {
	mu sync.Mutex
	of map[string]*account // by container; guarded by mu
}

// account is what providers said about the credentials of one container.
type account struct {
	mu      sync.Mutex
	answers map[[sha256.Size]byte]*answer // by credential; guarded by mu
	asks    float64                       // that are left; guarded by mu
	at      time.Time                     // of asks; guarded by mu
}

// answer is what a provider said, or will say.
type answer struct {
	came chan struct{} // closed when the rest is there
	said statement
	err  error
	at   time.Time // when it was asked

	renewing bool // guarded by account.mu
}

// open returns a container's account; nil when there is no room.
func (all *accounts) open(container string) *account {
	all.mu.Lock()
	defer all.mu.Unlock()
	a := all.of[container]
	if a != nil {
		return a
	}
	if len(all.of) >= maxAccounts {
		for other, old := range all.of {
			if old.idle() {
				delete(all.of, other)
			}
		}
	}
	if len(all.of) >= maxAccounts {
		return nil
	}
	a = &account{answers: make(map[[sha256.Size]byte]*answer), asks: asksSaved, at: time.Now()}
	all.of[container] = a
	return a
}

// idle reports whether an account says no more than a new one.
func (a *account) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.at) > max(usableFor+askFor, asksSaved*askEvery)
}

// answer returns what was said about a credential, or has ask find out. It waits
// no longer than ctx.
func (a *account) answer(ctx context.Context, credential [sha256.Size]byte, ask func() (statement, error)) (statement, error) {
	if a == nil {
		return statement{}, ErrTooMany
	}
	known, err := a.find(credential, ask)
	if err != nil {
		return statement{}, err
	}
	select {
	case <-known.came:
		return known.said, known.err
	case <-ctx.Done():
		return statement{}, fmt.Errorf("%w in time", ErrProviderAway)
	}
}

// find returns the answer that is there or on its way.
func (a *account) find(credential [sha256.Size]byte, ask func() (statement, error)) (*answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget()
	known := a.answers[credential]
	if known == nil {
		if !a.spend() {
			return nil, ErrTooMany
		}
		known = &answer{came: make(chan struct{}), at: time.Now()}
		a.answers[credential] = known
		go known.fill(ask)
		return known, nil
	}
	if known.ended() && known.err == nil && time.Since(known.at) > freshFor && !known.renewing && a.spend() {
		known.renewing = true
		go a.renew(credential, known, ask)
	}
	return known, nil
}

// renew asks again, and keeps the old answer only where nobody gave a new one.
func (a *account) renew(credential [sha256.Size]byte, old *answer, ask func() (statement, error)) {
	next := &answer{came: make(chan struct{}), at: time.Now()}
	next.fill(ask)
	a.mu.Lock()
	defer a.mu.Unlock()
	old.renewing = false
	if !errors.Is(next.err, ErrProviderAway) && !errors.Is(next.err, ErrIssuerAway) {
		a.answers[credential] = next
	}
}

func (n *answer) fill(ask func() (statement, error)) {
	defer close(n.came)
	defer func() {
		if recover() != nil { // the answer that was parsed may be hostile
			n.err = errors.New("the provider's answer could not be read")
		}
	}()
	n.said, n.err = ask()
}

func (n *answer) ended() bool {
	select {
	case <-n.came:
		return true
	default:
		return false
	}
}

// over reports whether an answer that came counts no more.
func (n *answer) over(now time.Time) bool {
	if n.err != nil {
		return now.Sub(n.at) > askFor+retryAfter
	}
	return now.Sub(n.at) > usableFor || !n.said.expires.IsZero() && now.After(n.said.expires)
}

// forget drops what counts no more. The caller holds mu.
func (a *account) forget() {
	now := time.Now()
	for credential, known := range a.answers {
		if known.ended() && known.over(now) {
			delete(a.answers, credential)
		}
	}
}

// spend reports whether the container may ask once more. The caller holds mu.
func (a *account) spend() bool {
	now := time.Now()
	a.asks = min(a.asks+now.Sub(a.at).Seconds()/askEvery.Seconds(), asksSaved)
	a.at = now
	if a.asks < 1 {
		return false
	}
	a.asks--
	return true
}
