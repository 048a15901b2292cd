// Package identity verifies who is behind a workload or a request, by OpenID
// Connect tokens of issuers that are named in configuration.
//
// A workload's token proves that an issuer vouches for a pod or container. It
// counts only when signature, issuer, audience and time hold and a claim of it
// equals a fact that the kernel or the orchestrator attests of the very
// workload, so that a stolen or copied token gives nothing. Such tokens lie in
// files that no job can write; or a Borrower has a CI provider say, by what a job
// holds itself, whose job that is. A person's token proves who asks the
// collector.
//
// The issuer is never taken from a token. When it cannot be reached and its
// keys are not known yet, the answer is "not verified", within a second; keys
// that are known go on counting. The package does not ask whether a pod still
// exists: a token counts until it expires. It never reads a file through the
// mount namespace of a job.
package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	// patience bounds one verification, fetching the issuer's keys included.
	patience = time.Second
	// retryAfter is how long an issuer that was away is not asked again, so that
	// it delays one session and not each.
	retryAfter = 5 * time.Second
	// maxToken bounds a token, in bytes.
	maxToken = 16 << 10
)

// ErrIssuerAway reports that an issuer's keys could not be had.
var ErrIssuerAway = errors.New("the issuer cannot be reached")

// algorithms are the signatures that an issuer may be configured for: public
// keys only, of OpenID Connect Core §15.1 and RFC 8037.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// source is one issuer. It is discovered when it is first needed, so that the
// program can start without it.
type source struct {
	url      string
	audience string
	config   *oidc.Config
	lifetime context.Context // of fetching; carries the HTTP client
	flight   singleflight.Group

	mu       sync.Mutex
	known    *discovered // nil until discovery succeeded; guarded by mu
	away     error       // why the last discovery did not; guarded by mu
	askAgain time.Time   // guarded by mu
}

// discovered is what an issuer's documents say.
type discovered struct {
	verifier *oidc.IDTokenVerifier
	endpoint oauth2.Endpoint // for logins
}

// newSource checks what configuration says of an issuer. Nil algorithms mean
// RS256 and ES256.
func newSource(ctx context.Context, url, audience, caFile string, allowed []string, dial Dialer) (*source, error) {
	if err := checkURL(url); err != nil {
		return nil, fmt.Errorf("issuer %q: %w", url, err)
	}
	if audience == "" {
		return nil, fmt.Errorf("issuer %s: the audience must be named", url)
	}
	if len(allowed) == 0 {
		allowed = []string{oidc.RS256, oidc.ES256}
	}
	for _, algorithm := range allowed {
		if !slices.Contains(algorithms, algorithm) {
			return nil, fmt.Errorf("issuer %s: algorithm %q is not allowed: choose of %v", url, algorithm, algorithms)
		}
	}
	client, err := newClient(caFile, patience, dial)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", url, err)
	}
	return &source{
		url:      url,
		audience: audience,
		config:   &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: allowed}, // verify checks the audience
		lifetime: oidc.ClientContext(ctx, client),
	}, nil
}

// verify returns the token if its signature, issuer, audience and time hold.
func (s *source) verify(ctx context.Context, raw, audience string) (*oidc.IDToken, error) {
	if len(raw) > maxToken {
		return nil, fmt.Errorf("the token is longer than %d bytes", maxToken)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	known, err := s.discovered(ctx)
	if err != nil {
		return nil, err
	}
	token, err := known.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("verify token: %s", brief(err))
	}
	if !slices.Contains(token.Audience, audience) {
		return nil, errors.New("verify token: it is meant for another audience")
	}
	if token.Subject == "" {
		return nil, errors.New("verify token: it has no subject")
	}
	return token, nil
}

// brief returns the beginning of an error's text. go-oidc puts whole answers of
// an issuer into it.
func brief(err error) string { return fmt.Sprintf("%.200s", err) }

// discovered returns what the issuer's documents say, and asks the issuer for
// them if that has not succeeded yet.
func (s *source) discovered(ctx context.Context) (*discovered, error) {
	s.mu.Lock()
	known, away, askAgain := s.known, s.away, s.askAgain
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if time.Now().Before(askAgain) {
		return nil, away
	}
	answer := s.flight.DoChan("", func() (any, error) { return s.discover() })
	select {
	case result := <-answer:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*discovered), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrIssuerAway, ctx.Err())
	}
}

// discover fetches the discovery document and keeps the outcome.
func (s *source) discover() (*discovered, error) {
	ctx, cancel := context.WithTimeout(s.lifetime, patience)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, s.url)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.away = fmt.Errorf("%w: %s", ErrIssuerAway, brief(err))
		s.askAgain = time.Now().Add(retryAfter)
		return nil, s.away
	}
	s.known = &discovered{verifier: provider.VerifierContext(s.lifetime, s.config), endpoint: provider.Endpoint()}
	return s.known, nil
}
