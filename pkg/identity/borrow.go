package identity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/pkg/workload"
)

// Provider is a CI system that says whose a credential is which it gave to a job,
// and how a job of it is bound to its container.
type Provider struct {
	Kind     string   // github, buildkite, gitlab or environment
	Issuer   string   // as in the iss claim, and where its API is; https, or http on loopback
	CAFile   string   // roots of its servers' certificates; empty: the system's
	Audience string   // that tokens are meant for; of gitlab none
	Hosts    []string // of github: whom a job's request for a token may go to, as named says
	Variable string   // of environment: where the token lies
	// Bind are the claims that must equal attested facts: all of them, at
	// least one.
	Bind []Binding
}

// Why nothing was borrowed.
var (
	ErrProviderAway = errors.New("the provider cannot be reached")
	ErrTooMany      = errors.New("the workload has shown too many credentials")
)

// Borrower verifies workloads by what they hold themselves: with a credential of
// a job it asks the job's provider whose that is. It is safe for concurrent use;
// a nil one borrows nothing.
//
// Whoever holds the credential can show it, so the answer counts only for a
// container that it names. No credential is written anywhere, and none goes to
// anybody but its provider.
type Borrower struct {
	lifetime  context.Context // of asking
	providers []*provider
	accounts  accounts
}

type provider struct {
	Provider
	way
	source *source      // of its tokens; nil where it has none
	client *http.Client // of its API
}

// way is how a kind of provider is asked.
type way struct {
	variables []string // that hold the credential, all of them
	level     workload.Assurance
	ask       func(p *provider, ctx context.Context, credential []string) (statement, error)
}

// statement is what a provider says.
type statement struct {
	claims  map[string]any
	expires time.Time // zero: it does not say
}

// NewBorrower checks the configuration of all providers. It asks none of them
// yet. When ctx ends nobody is asked any more. dial opens connections to
// providers; nil: as any program does.
func NewBorrower(ctx context.Context, providers []Provider, dial Dialer) (*Borrower, error) {
	b := &Borrower{lifetime: ctx, accounts: accounts{of: make(map[string]*account)}}
	var problems []error
	for _, configured := range providers {
		p, err := newProvider(ctx, configured, dial)
		if err != nil {
			problems = append(problems, fmt.Errorf("provider %s: %w", configured.Kind, err))
			continue
		}
		b.providers = append(b.providers, p)
	}
	return b, errors.Join(problems...)
}

// Variables are those that hold credentials. Nobody need read others.
func (b *Borrower) Variables() (names []string) {
	if b == nil {
		return nil
	}
	for _, p := range b.providers {
		names = append(names, p.variables...)
	}
	return names
}

// Verify asks the providers whose credentials a workload holds, and returns the
// claims of the first that vouches for this very workload, with the assurance
// that they give. Otherwise the claims are nil and the error says why; it holds
// nothing of a credential or a claim. Without a credential there is no error.
// It answers within a second; an answer that comes later is there for the
// workload's next connection.
func (b *Borrower) Verify(ctx context.Context, wl workload.Workload, value func(name string) string) (map[string]any, workload.Assurance, error) {
	if b == nil {
		return nil, workload.Unattributed, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var reasons []error
	for _, p := range b.providers {
		credential, found := p.credential(value)
		if !found {
			continue
		}
		claims, err := b.verify(ctx, p, wl, credential)
		if err == nil {
			return claims, p.level, nil
		}
		reasons = append(reasons, fmt.Errorf("provider %s %s: %w", p.Kind, p.Issuer, err))
	}
	return nil, workload.Unattributed, errors.Join(reasons...)
}

// credential returns the values of the variables, and whether all are there.
func (p *provider) credential(value func(name string) string) ([]string, bool) {
	values := make([]string, len(p.variables))
	for i, name := range p.variables {
		if values[i] = value(name); values[i] == "" {
			return nil, false
		}
	}
	return values, true
}

// verify asks one provider, or remembers what it answered. No credential is sent
// for a workload to which the answer could not be bound.
func (b *Borrower) verify(ctx context.Context, p *provider, wl workload.Workload, credential []string) (map[string]any, error) {
	if wl.Orch.NodeRoot() {
		return nil, ErrNodeRoot
	}
	for _, binding := range p.Bind {
		if fact(wl, binding.To) == "" || wl.Kernel.Container == "" {
			return nil, fmt.Errorf("%w: its %s is not known", ErrNoFact, binding.To)
		}
	}
	said, err := b.accounts.open(wl.Kernel.Container).answer(ctx, p.digest(credential), func() (statement, error) {
		ctx, cancel := context.WithTimeout(b.lifetime, askFor)
		defer cancel()
		return p.ask(p, ctx, credential)
	})
	if err != nil {
		return nil, err
	}
	if err := checkBindings(p.Bind, said.claims, wl); err != nil {
		return nil, err
	}
	return maps.Clone(said.claims), nil
}

// digest stands for a credential in memory. Two that differ in anything, or are
// for two providers, differ in it.
func (p *provider) digest(credential []string) (digest [sha256.Size]byte) {
	hash := sha256.New()
	for _, part := range append([]string{p.Kind, p.Issuer, p.Variable}, credential...) {
		_ = binary.Write(hash, binary.LittleEndian, uint64(len(part))) // a hash takes everything
		_, _ = hash.Write([]byte(part))
	}
	hash.Sum(digest[:0])
	return digest
}
