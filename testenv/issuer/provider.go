package issuer

import (
	"context"
	"crypto/rand"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Person can log in at a Provider, by name alone.
type Person struct {
	Name   string // also the subject
	Groups []string
}

// Provider is an issuer at which people log in: zitadel/oidc's, with its
// example's storage in memory, this package's keys, and a page that asks
// nobody for a password. Its one client is public and uses PKCE.
type Provider struct {
	handler http.Handler
	store   *store
	// Backdate is how long ago people proved who they are, as its tokens say:
	// the issuer's own session, which a fresh login must not be satisfied with.
	Backdate atomic.Int64 // ns
}

// NewProvider returns the provider of an issuer's URL and keys for one client.
func NewProvider(i *Issuer, client string, redirects []string, people []Person) (*Provider, error) {
	p := &Provider{}
	known := storage.NativeClient(client, redirects...)
	p.store = &store{
		issuer: i, people: people, provider: p, client: &webClient{known},
		Storage: storage.NewStorageWithClients(directory(people), map[string]*storage.Client{client: known}),
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	provider, err := op.NewProvider(&op.Config{
		CryptoKey: key, CodeMethodS256: true, GrantTypeRefreshToken: true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime: 5 * time.Minute, PollInterval: time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20,
		},
	}, p.store, op.StaticIssuer(i.url), op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("make provider: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("GET /login/{$}", p.page)
	mux.Handle("POST /login/{$}", op.NewIssuerInterceptor(provider.IssuerFromRequest).HandlerFunc(p.login(op.AuthCallbackURL(provider))))
	mux.HandleFunc("GET /device", p.page)
	mux.HandleFunc("POST /device", p.device)
	p.handler = mux
	return p, nil
}

// ServeHTTP serves discovery, keys, endpoints and the pages.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

var page = template.Must(template.New("login").Parse(`<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Test login</title>
<style>body{font:16px system-ui;max-width:22rem;margin:15vh auto;padding:0 1rem}button{font:inherit;display:block;width:100%;margin:.5rem 0;padding:.6rem}</style>
<h1>Who are you?</h1><p>This issuer is for tests: it believes everybody.</p>
<form method="post"><input type="hidden" name="id" value="{{.ID}}">
{{range .People}}<button name="name" value="{{.Name}}">{{.Name}}</button>{{end}}</form></html>`))

// page asks for a name. ID is the login's, or the code of a device.
func (p *Provider) page(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("authRequestID")
	if id == "" {
		id = r.FormValue("user_code")
	}
	_ = page.Execute(w, map[string]any{"ID": id, "People": p.store.people}) // an error means that the browser has gone
}

func (p *Provider) login(callback func(context.Context, string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if err := p.store.CheckUsernamePassword(r.FormValue("name"), password, id); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, callback(r.Context(), id), http.StatusFound)
	}
}

func (p *Provider) device(w http.ResponseWriter, r *http.Request) {
	if err := p.store.CompleteDeviceAuthorization(r.Context(), r.FormValue("id"), r.FormValue("name")); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	_, _ = fmt.Fprintln(w, "You are logged in there.")
}

// password is everybody's; the example's storage wants one.
const password = "none"

// directory finds people for the example's storage.
type directory []Person

// GetUserByID implements storage.UserStore.
func (d directory) GetUserByID(id string) *storage.User {
	for _, person := range d {
		if person.Name == id {
			return &storage.User{ID: id, Username: id, Password: password, FirstName: id, Email: id + "@example.com", EmailVerified: true}
		}
	}
	return nil
}

// GetUserByUsername implements storage.UserStore.
func (d directory) GetUserByUsername(name string) *storage.User { return d.GetUserByID(name) }

// ExampleClientID implements storage.UserStore; there is none.
func (d directory) ExampleClientID() string { return "" }

// store is the example's storage with our keys, client and groups.
type store struct {
	*storage.Storage
	issuer   *Issuer
	provider *Provider
	people   []Person
	client   *webClient
}

// GetClientByClientID returns the one client.
func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.client.GetID() {
		return nil, fmt.Errorf("client %q is not known", id)
	}
	return s.client, nil
}

// AuthorizeClientIDSecret refuses: the client has no secret.
func (s *store) AuthorizeClientIDSecret(context.Context, string, string) error {
	return oidc.ErrInvalidClient()
}

// SigningKey returns the key that Mint uses, too.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	return signingKey{s.issuer.keys[RS256]}, nil
}

// SignatureAlgorithms lists what SigningKey signs.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet returns all keys of the issuer.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	var keys []op.Key
	for _, key := range s.issuer.keys {
		keys = append(keys, verifyKey{signingKey{key.Public()}})
	}
	return keys, nil
}

// SetUserinfoFromRequest adds the person's groups to the ID token.
func (s *store) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	if err := s.SetUserinfoFromScopes(ctx, info, token.GetSubject(), s.client.GetID(), scopes); err != nil {
		return err
	}
	if err := s.Storage.SetUserinfoFromRequest(ctx, info, token, scopes); err != nil {
		return err
	}
	i := slices.IndexFunc(s.people, func(p Person) bool { return p.Name == token.GetSubject() })
	if i >= 0 {
		info.AppendClaims("groups", s.people[i].Groups)
	}
	return nil
}

// AuthRequestByCode moves the time of the login back, where a test wants it.
func (s *store) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	request, err := s.Storage.AuthRequestByCode(ctx, code)
	return backdated{request, time.Duration(s.provider.Backdate.Load())}, err
}

type backdated struct {
	op.AuthRequest
	by time.Duration
}

// GetAuthTime returns when the person proved who they are.
func (b backdated) GetAuthTime() time.Time { return b.AuthRequest.GetAuthTime().Add(-b.by) }

// webClient is the example's public client, for browsers and devices, also
// over plain HTTP.
type webClient struct{ *storage.Client }

// DevMode allows plain HTTP.
func (c *webClient) DevMode() bool { return true }

// LoginURL is where people log in.
func (c *webClient) LoginURL(id string) string { return "/login/?authRequestID=" + id }

// IDTokenUserinfoClaimsAssertion puts names and groups into the ID token.
func (c *webClient) IDTokenUserinfoClaimsAssertion() bool { return true }

// GrantTypes allows codes and devices.
func (c *webClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeDeviceCode}
}

// signingKey is a key as the provider wants it.
type signingKey struct{ jose.JSONWebKey }

// SignatureAlgorithm is what the key signs with.
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm {
	return jose.SignatureAlgorithm(k.Algorithm)
}

// Key is the key itself.
func (k signingKey) Key() any { return k.JSONWebKey.Key }

// ID is the one that it is published by.
func (k signingKey) ID() string { return k.KeyID }

// verifyKey is a public key as the provider wants it.
type verifyKey struct{ signingKey }

// Algorithm is what the key verifies.
func (k verifyKey) Algorithm() jose.SignatureAlgorithm { return k.SignatureAlgorithm() }

// Use is signatures.
func (k verifyKey) Use() string { return "sig" }
