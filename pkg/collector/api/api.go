// Package api is the collector's REST interface: JSON under /v1, on one port,
// the same for the command line and for pages.
//
// Every request but /v1/healthz and /v1/login carries a bearer token, and every refusal is
// JSON with one field, error. The package reads the store and hands votes on;
// it cannot make a vote, and it never writes statement text or tokens to the
// program's log.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// Role is what a caller may do.
type Role string

// The roles. A person may have several, each over some resources and
// repositories or over all; only an admin's contains others.
const (
	Viewer    Role = "viewer"    // sees sessions, agents and findings; no statement text
	Responder Role = "responder" // and records, searches, exports
	Approver  Role = "approver"  // sees approvals and votes
	Admin     Role = "admin"     // sees all that the others see; votes only as an approver
)

// Valid reports whether the role is one of the four.
func (r Role) Valid() bool {
	return r == Viewer || r == Responder || r == Approver || r == Admin
}

// Caller is whoever sent a request.
type Caller struct {
	Name            string // for the program's log and for people
	Issuer, Subject string // of the person; empty for the bootstrap token
	From            string // network address
	Grants          []Grant
}

// Grant gives roles within limits.
type Grant struct {
	Roles []Role
	Over  view.Pair // the zero Pair has no limits
}

// Roles returns what the caller may do somewhere.
func (c *Caller) Roles() []Role {
	var roles []Role
	for _, g := range c.Grants {
		for _, role := range g.Roles {
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return roles
}

// Sees returns over what the caller has at least one of the roles.
func (c *Caller) Sees(any ...Role) view.Scope {
	var pairs []view.Pair
	for _, g := range c.Grants {
		if slices.ContainsFunc(g.Roles, func(have Role) bool { return slices.Contains(any, have) }) {
			pairs = append(pairs, g.Over)
		}
	}
	return view.NewScope(pairs...)
}

// ErrUnknownCaller is what Identify returns, wrapped or not, for a token that
// it does not accept.
var ErrUnknownCaller = errors.New("the token is not accepted")

// Refusal is an error that the caller may read.
type Refusal struct {
	Status int // HTTP
	Reason string
}

func (r *Refusal) Error() string { return r.Reason }

// Config is what the API serves. All fields are required.
type Config struct {
	Store *store.Store
	// Identify names the caller behind a bearer token.
	Identify func(ctx context.Context, token string) (Caller, error)
	// Vote checks a signed vote, keeps it and tells the agent. A vote that is
	// not valid is a *Refusal.
	Vote func(ctx context.Context, by Caller, number uint64, signed []byte) (view.Approval, error)
	// Order checks a signed order, keeps it and tells the agents. An order that
	// is not valid is a *Refusal.
	Order func(ctx context.Context, by Caller, sees view.Scope, signed []byte) (view.Order, error)
	// Orders lists the orders in force.
	Orders func(ctx context.Context) ([]view.Order, error)
	// Publish checks a published policy, keeps it and tells the agents. One that
	// is not valid is a *Refusal.
	Publish func(ctx context.Context, by Caller, published []byte) (view.Publication, error)
	// Policies lists what was published, and Policy returns one with its text.
	Policies func(ctx context.Context) ([]view.Publication, error)
	Policy   func(ctx context.Context, sequence uint64) (approval.Published, error)
	// Review checks a signed pre-approval, keeps it and tells the agents. One that
	// is not valid is a *Refusal.
	Review func(ctx context.Context, by Caller, sees view.Scope, signed []byte) (view.Preapproval, error)
	// Reviewed lists the pre-approvals in force that may be seen.
	Reviewed func(ctx context.Context, sees view.Scope) ([]view.Preapproval, error)
	// Approver returns a caller's name in the roster of approvers, "" for none.
	Approver func(by Caller) string
	// Witness records durably that somebody is about to see or do what must
	// not be seen or done unnoticed. What cannot be recorded is refused.
	Witness func(ctx context.Context, by Caller, act Act) error
	// Agents lists the enrolled agents and those that have sent records.
	Agents func(ctx context.Context) ([]view.Chain, error)
	// Export writes a bundle as a tar stream.
	Export func(ctx context.Context, to io.Writer, sees view.Scope, what Selection) error
	// Login is what a program needs to log a person in; the zero value where
	// nobody can.
	Login   view.Login
	Limiter *Limiter
	Log     *zap.Logger
}

// server is Config with methods.
type server struct{ Config }

// Act is one entry in the record of what people do here.
type Act struct {
	Kind    string // "session.read", "search", "export", "approval.read", "vote", …
	Subject string // the session, number or words that it is about
}

// endpoint answers one request of somebody who sees what their roles for it
// allow. The result is written as JSON.
type endpoint func(r *http.Request, by Caller, sees view.Scope) (any, error)

// route is what one pattern of New leads to.
type route struct {
	pattern string
	roles   []Role
	do      endpoint
}

// routes lists the API, but for what does not answer in JSON or needs no token:
// healthz, login, export and the log's tiles. docs/openapi.yaml describes them all.
func (s *server) routes() []route {
	seen := everybody()
	held := []Role{Approver, Responder, Admin}
	return []route{
		{"GET /v1/sessions", seen, s.sessions},
		{"GET /v1/sessions/{id}", seen, s.session},
		{"GET /v1/sessions/{id}/records", readers(), s.records},
		{"POST /v1/sessions/{id}/shred", []Role{Admin}, s.shred},
		{"GET /v1/search", readers(), s.search},
		{"GET /v1/whoami", seen, s.whoami},
		{"GET /v1/agents", seen, s.agents},
		{"GET /v1/runs", seen, s.runs},
		{"GET /v1/findings", seen, s.findings},
		{"GET /v1/checkpoint", seen, s.checkpoint},
		{"GET /v1/approvals", held, s.approvals},
		{"GET /v1/approvals/{number}", held, s.approval},
		{"POST /v1/approvals/{number}/votes", []Role{Approver}, s.vote},
		{"GET /v1/orders", held, s.orders},
		{"POST /v1/orders", held, s.order},
		{"GET /v1/policies", seen, s.policies},
		{"GET /v1/policies/{sequence}", []Role{Admin}, s.policy},
		{"POST /v1/policies", []Role{Admin}, s.publish},
		{"GET /v1/preapprovals", held, s.reviewed},
		{"POST /v1/preapprovals", []Role{Approver}, s.review},
	}
}

// everybody has a role.
func everybody() []Role { return []Role{Viewer, Responder, Approver, Admin} }

// readers may read what was asked and answered.
func readers() []Role { return []Role{Responder, Admin} }

// New returns the API.
func New(cfg Config) http.Handler {
	s := &server{cfg}
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, s.serve(r.roles, r.do))
	}
	mux.HandleFunc("GET /v1/healthz", s.health)
	mux.HandleFunc("GET /v1/login", func(w http.ResponseWriter, _ *http.Request) { s.write(w, http.StatusOK, s.Login) })
	mux.HandleFunc("GET /v1/export", s.allow(readers(), s.export))
	mux.HandleFunc("GET /v1/log/checkpoint", s.allow(everybody(), s.logCheckpoint))
	mux.HandleFunc("GET /v1/log/cosigned", s.allow(everybody(), s.logCosigned))
	mux.HandleFunc("GET /v1/log/tile/{path...}", s.allow(everybody(), s.tile))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.refuse(w, &Refusal{http.StatusNotFound, "no such resource"})
	})
	return headers(s.limit(mux))
}

// limit keeps addresses that ask or fail too much waiting.
func (s *server) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait := s.Limiter.Allow(r)
		if wait == 0 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		s.refuse(w, &Refusal{http.StatusTooManyRequests, "too many requests or refused tokens: wait"})
	})
}

// requestTime bounds the work for one request, exports excepted.
const requestTime = 30 * time.Second

func (s *server) serve(roles []Role, do endpoint) http.HandlerFunc {
	return s.allow(roles, func(w http.ResponseWriter, r *http.Request, by Caller, sees view.Scope) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		answer, err := do(r.WithContext(ctx), by, sees)
		if err != nil {
			s.refuse(w, err)
			return
		}
		s.write(w, http.StatusOK, answer)
	})
}

// allow runs do for callers that have one of the roles somewhere.
func (s *server) allow(roles []Role, do func(http.ResponseWriter, *http.Request, Caller, view.Scope)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" {
			s.refuse(w, &Refusal{http.StatusUnauthorized, "a bearer token is required"})
			return
		}
		by, err := s.Identify(r.Context(), token)
		if err != nil {
			if errors.Is(err, ErrUnknownCaller) {
				s.Limiter.Failed(r)
			}
			s.refuse(w, err)
			return
		}
		s.Limiter.Succeeded(r)
		by.From, _, _ = net.SplitHostPort(r.RemoteAddr)
		sees := by.Sees(roles...)
		if sees.Nothing() {
			s.refuse(w, &Refusal{http.StatusForbidden, by.Name + " has none of the roles " + list(roles)})
			return
		}
		do(w, r, by, sees)
	}
}

func list(roles []Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// refuse answers with what the caller may know of err. Anything else is logged
// and called an internal error.
func (s *server) refuse(w http.ResponseWriter, err error) {
	var refusal *Refusal
	status, reason := http.StatusInternalServerError, "internal error"
	switch {
	case errors.As(err, &refusal):
		status, reason = refusal.Status, refusal.Reason
	case errors.Is(err, ErrUnknownCaller):
		status, reason = http.StatusUnauthorized, ErrUnknownCaller.Error()
	case errors.Is(err, store.ErrNotFound):
		status, reason = http.StatusNotFound, err.Error()
	case errors.Is(err, store.ErrSettled):
		status, reason = http.StatusConflict, store.ErrSettled.Error()
	case errors.Is(err, context.DeadlineExceeded):
		status, reason = http.StatusServiceUnavailable, "this took too long"
	default:
		s.Log.Error("Request failed", zap.Error(err))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	s.write(w, status, view.Problem{Error: reason})
}

func (s *server) write(w http.ResponseWriter, status int, answer any) {
	raw, err := json.Marshal(answer)
	if err != nil {
		s.Log.Error("Answer could not be encoded", zap.Error(err))
		status, raw = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(raw, '\n')); err != nil {
		s.Log.Debug("Caller went away", zap.Error(err))
	}
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func (s *server) health(w http.ResponseWriter, r *http.Request) {
	if err := s.Store.Ping(r.Context()); err != nil {
		s.Log.Error("Store does not answer", zap.Error(err))
		s.write(w, http.StatusServiceUnavailable, view.Problem{Error: "the store does not answer"})
		return
	}
	s.write(w, http.StatusOK, map[string]string{"status": "ok"})
}
