package identity

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// loginPatience bounds one exchange with the issuer while a person waits.
const loginPatience = 10 * time.Second

// ErrLogin reports a login that does not count, for a reason that its person
// may read.
var ErrLogin = errors.New("the login is not accepted")

// Pending is a login that has begun: the browser carries it until the issuer
// sends the person back. It is no secret from that person.
type Pending struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // PKCE's (RFC 7636)
}

// Proof is who logged in, and when they last proved it to the issuer; zero
// when the issuer does not say.
type Proof struct {
	Person
	At    time.Time
	Token string // the ID token
}

// BeginLogin returns where to send a browser (OpenID Connect Core §3.1.2.1,
// with PKCE). With fresh the issuer must ask the person again, also when it
// knows them already.
func (p *People) BeginLogin(ctx context.Context, redirect string, fresh bool) (Pending, string, error) {
	client, err := p.client(ctx, redirect)
	if err != nil {
		return Pending{}, "", err
	}
	begun := Pending{State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier()}
	options := []oauth2.AuthCodeOption{oidc.Nonce(begun.Nonce), oauth2.S256ChallengeOption(begun.Verifier)}
	if fresh {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return begun, client.AuthCodeURL(begun.State, options...), nil
}

// FinishLogin takes what the issuer sent the person back with, and returns who
// they are.
func (p *People) FinishLogin(ctx context.Context, redirect string, begun Pending, answer url.Values) (Proof, error) {
	state := answer.Get("state")
	if begun.State == "" || subtle.ConstantTimeCompare([]byte(state), []byte(begun.State)) != 1 {
		return Proof{}, fmt.Errorf("%w: it did not begin in this browser", ErrLogin)
	}
	if answer.Get("error") != "" || answer.Get("code") == "" {
		return Proof{}, fmt.Errorf("%w: the issuer says %.100q", ErrLogin, answer.Get("error"))
	}
	client, err := p.client(ctx, redirect)
	if err != nil {
		return Proof{}, err
	}
	ctx, cancel := p.asking(ctx)
	defer cancel()
	tokens, err := client.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(begun.Verifier))
	if err != nil {
		return Proof{}, fmt.Errorf("%w: the issuer refuses its code", ErrLogin) // err may hold what it answered
	}
	return p.proof(ctx, tokens, begun.Nonce)
}

// proof verifies the ID token among an issuer's tokens.
func (p *People) proof(ctx context.Context, tokens *oauth2.Token, nonce string) (Proof, error) {
	raw, _ := tokens.Extra("id_token").(string)
	token, err := p.source.verify(ctx, raw, p.source.audience)
	if err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrLogin, err)
	}
	if token.Nonce != nonce {
		return Proof{}, fmt.Errorf("%w: the token is of another login", ErrLogin)
	}
	proof := Proof{Token: raw}
	if proof.Person, err = p.personOf(token); err != nil {
		return Proof{}, err
	}
	var claims struct {
		At int64 `json:"auth_time"`
	}
	if err := token.Claims(&claims); err == nil && claims.At > 0 {
		proof.At = time.Unix(claims.At, 0)
	}
	return proof, nil
}

// client is ours at the issuer. A person's groups may come with any of the
// scopes that issuers use for them.
func (p *People) client(ctx context.Context, redirect string) (*oauth2.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	known, err := p.source.discovered(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Config{
		ClientID: p.source.audience, ClientSecret: p.secret, Endpoint: known.endpoint,
		RedirectURL: redirect, Scopes: p.scopes,
	}, nil
}

// asking gives a context for questions to the issuer.
func (p *People) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	if client, ok := p.source.lifetime.Value(oauth2.HTTPClient).(*http.Client); ok {
		patient := *client
		patient.Timeout = loginPatience
		ctx = oidc.ClientContext(ctx, &patient)
	}
	return context.WithTimeout(ctx, 2*loginPatience)
}

// LoginInBrowser logs a person in on their own machine (RFC 8252 §7.3): open
// is given the address to open in their browser.
func (p *People) LoginInBrowser(ctx context.Context, open func(url string) error) (Proof, error) {
	back, err := listenBack(ctx)
	if err != nil {
		return Proof{}, err
	}
	defer back.close()
	begun, address, err := p.BeginLogin(ctx, back.url, false)
	if err != nil {
		return Proof{}, err
	}
	if err := open(address); err != nil {
		return Proof{}, err
	}
	select {
	case answer := <-back.answers:
		return p.FinishLogin(ctx, back.url, begun, answer)
	case <-ctx.Done():
		return Proof{}, ctx.Err()
	}
}

// LoginByDevice logs a person in who has no browser here (RFC 8628): show is
// given where to go and what to type there.
func (p *People) LoginByDevice(ctx context.Context, show func(address, code string)) (Proof, error) {
	client, err := p.client(ctx, "")
	if err != nil {
		return Proof{}, err
	}
	if client.Endpoint.DeviceAuthURL == "" {
		return Proof{}, fmt.Errorf("%w: the issuer knows no device flow", ErrLogin)
	}
	if transport, ok := p.source.lifetime.Value(oauth2.HTTPClient).(*http.Client); ok {
		patient := *transport
		patient.Timeout = loginPatience
		ctx = oidc.ClientContext(ctx, &patient)
	}
	code, err := client.DeviceAuth(ctx)
	if err != nil {
		return Proof{}, fmt.Errorf("%w: the issuer does not begin a device flow", ErrLogin)
	}
	address := code.VerificationURIComplete
	if address == "" {
		address = code.VerificationURI
	}
	show(address, code.UserCode)
	tokens, err := client.DeviceAccessToken(ctx, code)
	if err != nil {
		return Proof{}, fmt.Errorf("%w: %s", ErrLogin, reason(err))
	}
	return p.proof(ctx, tokens, "")
}

// reason is what an issuer's error may tell a person.
func reason(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return strconv.Quote(refused.ErrorCode)
	}
	return brief(err)
}
